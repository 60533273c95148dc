//! Tables, in the way of flyctl.

use std::fmt::Write as _;

/// Rows below a heading, columns aligned.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| width(cell)).collect();
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    let heading: Vec<String> = heading.iter().map(|cell| cell.to_uppercase()).collect();
    std::iter::once(&heading).chain(rows).fold(String::new(), |mut out, row| {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&widths) {
            line.push_str(&pad(cell, column + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
        out
    })
}

/// A title and a value per line.
pub(crate) fn vertical(title: &str, rows: &[(String, String)]) -> String {
    let column = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    rows.iter().fold(format!("{title}\n"), |mut out, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {} = {value}", pad(name, column));
        out
    })
}

/// A number of bytes, as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let unit = (count.ilog2() / 10).min(6);
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = count as f64 / 1024_f64.powi(unit.cast_signed());
    format!("{value:.1} {}", UNITS[unit as usize - 1])
}

/// A number of objects, as people say it.
pub(crate) fn objects(count: u64) -> String {
    counted(count, "object", "objects")
}

/// A number and what it counts, as people say it.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A yes or no, as flyctl writes it.
pub(crate) const fn yes_no(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, column: usize) -> String {
    format!("{text}{}", " ".repeat(column.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::{bytes, objects, table, vertical};

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["photos".to_owned(), "acme".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(table(&["Name", "Org"], &rows), "NAME    ORG\nphotos  acme\na\n");
        let rows = [("Name".to_owned(), "photos".to_owned()), ("Public".to_owned(), "True".to_owned())];
        assert_eq!(vertical("Status", &rows), "Status\n  Name   = photos\n  Public = True\n");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(objects), ["0 objects", "1 object", "2 objects"]);
    }

    #[test]
    fn sizes_are_readable() {
        let table = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "16.0 EiB")];
        for (count, expected) in table {
            assert_eq!(bytes(count), expected);
        }
    }
}
