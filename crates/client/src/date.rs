//! Times as services write them in headers.

use time::{
    OffsetDateTime, PrimitiveDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};
use umbra_core::Timestamp;

/// The forms of RFC 9110, section 5.6.7, that have a whole year; the last one padded with spaces or zeros.
const HTTP: [&[BorrowedFormatItem<'_>]; 3] = [
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"),
    format_description!("[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"),
    format_description!("[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] [year]"),
];

/// Reads an HTTP date, or a time in the form of ISO 8601, which some services write instead.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let http = HTTP.iter().find_map(|form| PrimitiveDateTime::parse(text, form).ok()).map(PrimitiveDateTime::assume_utc);
    let time = http.or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok())?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::parse;

    #[test]
    fn dates_of_every_form_are_read() {
        let expected = Some(Timestamp::from_millis(784_111_777_000));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            " 1994-11-06T08:49:37.000Z ",
            "1994-11-06T09:49:37+01:00",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for bad in ["", "yesterday", "784111777", "Sun, 06 Nov 1994"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
