//! Reading the XML that origins answer with.
//!
//! A pull reader over a document already capped in size: it keeps white space in text (a key may end in a space), knows no entities
//! but the predefined ones, and bounds the depth, so that a hostile document costs no more than its length.

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

/// No document of S3's is deeper.
const DEPTH_MAX: usize = 16;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    /// It is not UTF-8.
    #[error("the document is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// It is not XML.
    #[error("the document is malformed")]
    Malformed(#[source] Box<quick_xml::Error>),
    /// It is XML, and not what was asked for.
    #[error("{0}")]
    Unexpected(String),
}

/// Shorthand for [`XmlError::Unexpected`].
pub(crate) fn unexpected(what: impl Into<String>) -> XmlError {
    XmlError::Unexpected(what.into())
}

/// Walks `document`, whose outermost element must be one of `roots`, and calls `visit` at the end of every element below it, in
/// document order, with the names of the elements from below the outermost one down to it and with the text directly inside it.
pub(crate) fn walk(document: &[u8], roots: &[&str], mut visit: impl FnMut(&[&str], &str) -> Result<(), XmlError>) -> Result<(), XmlError> {
    let mut reader = Reader::from_str(std::str::from_utf8(document)?);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<(String, String)> = Vec::new();
    let mut rooted = false;
    loop {
        match reader.read_event().map_err(|error| XmlError::Malformed(Box::new(error)))? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                if open.is_empty() && (rooted || !roots.contains(&name.as_str())) {
                    return Err(unexpected(format!("the document is a {:.60}, not a {}", name, roots.join(" or "))));
                }
                if open.len() == DEPTH_MAX {
                    return Err(unexpected("the document is too deep"));
                }
                rooted = true;
                open.push((name, String::new()));
            }
            Event::End(_) => {
                let path: Vec<&str> = open.iter().skip(1).map(|(name, _)| name.as_str()).collect();
                if let (Some((_, text)), false) = (open.last(), path.is_empty()) {
                    visit(&path, text)?;
                }
                open.pop();
            }
            // As it stands: a line end in a key that an origin did not encode is part of the key, whatever XML makes of it.
            Event::Text(text) => append(&mut open, &text),
            Event::CData(text) => append(&mut open, &text),
            Event::GeneralRef(reference) => append(&mut open, &resolve(&reference)?),
            Event::Eof if rooted && open.is_empty() => return Ok(()),
            Event::Eof => return Err(unexpected("the document ends early")),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn append(open: &mut [(String, String)], more: &str) {
    if let Some((_, text)) = open.last_mut() {
        text.push_str(more);
    }
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<String, XmlError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| XmlError::Malformed(Box::new(error)))? {
        return Ok(character.to_string());
    }
    let name = reference.xml10_content();
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| unexpected(format!("the document refers to {name:.60}")))
}

/// Writes `text` for use inside an element.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // A reader turns a bare carriage return into a line feed, and some trim white space unless it is written out.
            '\r' | '\n' | '\t' => escaped.push_str(&format!("&#{};", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The number an element holds.
pub(crate) fn number<T: std::str::FromStr>(element: &str, text: &str) -> Result<T, XmlError> {
    text.trim().parse().map_err(|_| unexpected(format!("{element} is not a number: {text:.60}")))
}

/// The truth an element holds.
pub(crate) fn truth(element: &str, text: &str) -> Result<bool, XmlError> {
    match text.trim() {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" | "" => Ok(false),
        other => Err(unexpected(format!("{element} is neither true nor false: {other:.60}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::{escape, walk};

    proptest! {
        #[test]
        fn no_document_is_too_odd_to_be_refused(bytes: Vec<u8>, text in "<Root>[<>/&;#x!\\[\\]A-C \"'=?-]*</Root>") {
            let _ = walk(&bytes, &["Root"], |_, _| Ok(()));
            let _ = walk(text.as_bytes(), &["Root"], |_, _| Ok(()));
        }

        #[test]
        fn any_printable_text_comes_back(text in "\\PC*") {
            let document = format!("<Root><A>{}</A></Root>", escape(&text));
            prop_assert_eq!(visited(&document).unwrap(), [("A".to_owned(), text)]);
        }
    }

    fn visited(document: &str) -> Result<Vec<(String, String)>, super::XmlError> {
        let mut all = Vec::new();
        walk(document.as_bytes(), &["Root"], |path, text| {
            all.push((path.join("/"), text.to_owned()));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn text_is_kept_as_it_is() {
        let document = "  <?xml version=\"1.0\"?><s3:Root xmlns:s3=\"x\">\n<A> a &amp; b&#x20;</A><!-- no --><B><C/><C><![CDATA[<x>]]> </C></B></s3:Root>\n";
        let expected = [("A", " a & b "), ("B/C", ""), ("B/C", "<x> "), ("B", "")];
        assert_eq!(visited(document).unwrap(), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = format!("<Root>{}", "<a>".repeat(100_000));
        for bad in [
            "",
            "text",
            "<Other/>",
            "<Root>",
            "<Root></Other>",
            "<Root/><Root/>",
            "<Root>&unknown;</Root>",
            "<!DOCTYPE r [<!ENTITY e \"x\">]><Root>&e;</Root>",
            "<html><body>502</body></html>",
            &deep,
        ] {
            assert!(visited(bad).is_err(), "{bad:.80}");
        }
        assert!(walk(b"<Root>\xff</Root>", &["Root"], |_, _| Ok(())).is_err());
    }

    #[test]
    fn escaped_text_comes_back() {
        let text = " <a> & \"b\"\r\n\té🦀 ";
        let document = format!("<Root><A>{}</A></Root>", escape(text));
        assert_eq!(visited(&document).unwrap(), [("A".to_owned(), text.to_owned())]);
    }
}
