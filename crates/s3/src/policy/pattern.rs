//! Texts with wildcards and policy variables.

use super::{Malformed, effort::Effort};

/// What names of S3's resources begin with.
pub(super) const ARN: &str = "arn:aws:s3:::";
/// The longest text: a key and the name of its bucket fit, and matching stays cheap.
const BYTES_MAX: usize = 2048;

/// A text of a policy: what it matches, and what only the request can tell.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    /// These very characters.
    Text(String),
    /// `?`: any one character.
    One,
    /// `*`: any characters, or none.
    Any,
    /// `${key}` or `${key, 'default'}`.
    Variable { key: String, default: Option<String> },
}

/// What has a meaning of its own in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${…}`.
    pub(super) variables: bool,
}

impl Pattern {
    /// Understands `text`.
    pub(super) fn parse(text: &str, style: Style) -> Result<Self, Malformed> {
        if text.len() > BYTES_MAX {
            return Malformed::because(format!("a text of a policy has at most {BYTES_MAX} bytes"));
        }
        let mut pattern = Self(Vec::new());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if style.variables && rest.starts_with("${") {
                let Some((name, behind)) = rest[2..].split_once('}') else {
                    return Malformed::because("Policy has an invalid variable: a ${ without its }");
                };
                pattern.push_variable(name)?;
                rest = behind;
                continue;
            }
            match first {
                '*' if style.wildcards => pattern.0.push(Piece::Any),
                '?' if style.wildcards => pattern.0.push(Piece::One),
                other => pattern.push_text(other),
            }
            rest = &rest[first.len_utf8()..];
        }
        pattern.0.dedup_by(|a, b| *a == Piece::Any && *b == Piece::Any);
        Ok(pattern)
    }

    fn push_text(&mut self, character: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.0.push(Piece::Text(character.to_string())),
        }
    }

    fn push_variable(&mut self, name: &str) -> Result<(), Malformed> {
        if matches!(name, "*" | "?" | "$") {
            name.chars().for_each(|character| self.push_text(character));
            return Ok(());
        }
        let (key, default) = match name.split_once(',') {
            None => (name, None),
            Some((key, default)) => {
                let quoted = default.trim().strip_prefix('\'').and_then(|default| default.strip_suffix('\''));
                let Some(default) = quoted else {
                    return Malformed::because("Policy has an invalid variable: a default is written in single quotes");
                };
                (key, Some(default.to_owned()))
            }
        };
        if key.trim().is_empty() {
            return Malformed::because("Policy has an invalid variable: it has no name");
        }
        self.0.push(Piece::Variable { key: super::keys::canonical(key.trim()), default });
        Ok(())
    }

    /// Whether it is `text`. One with a variable that the request does not have is nothing.
    pub(super) fn matches(&self, text: &str, effort: &Effort<'_>, folds: bool) -> bool {
        if !effort.takes_text(text) || !effort.spend(text.len()) {
            return false;
        }
        let Some(tokens) = self.tokens(effort) else { return false };
        matches(&tokens, &text.chars().collect::<Vec<_>>(), folds, || effort.spend(1))
    }

    /// Whether it is the same for every request and matches nothing but itself.
    pub(super) fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// Whether `character` stands in it as itself.
    pub(super) fn has(&self, character: char) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(character)))
    }

    /// Whether it can match `text` for some request.
    pub(super) fn may_match(&self, text: &str) -> bool {
        let any_for_variables = |piece: &Piece| match piece {
            Piece::Text(text) => text.chars().map(Token::Char).collect(),
            Piece::One => vec![Token::One],
            Piece::Any | Piece::Variable { .. } => vec![Token::Any],
        };
        let tokens: Vec<_> = self.0.iter().flat_map(any_for_variables).collect();
        matches(&tokens, &text.chars().collect::<Vec<_>>(), false, || true)
    }

    /// The keys of its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    fn tokens(&self, effort: &Effort<'_>) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => tokens.extend(text.chars().map(Token::Char)),
                Piece::One => tokens.push(Token::One),
                Piece::Any => tokens.push(Token::Any),
                Piece::Variable { key, default } => {
                    let mut values = effort.values(key);
                    // Of several values nobody could say which.
                    let value = if values.len() == 1 { values.pop() } else { None };
                    tokens.extend(value.or_else(|| default.clone())?.chars().map(Token::Char));
                }
            }
            if !effort.takes_pattern(tokens.len()) {
                return None;
            }
        }
        effort.spend(tokens.len()).then_some(tokens)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

/// Whether `tokens` match all of `text`: on a mismatch the last `*` takes one character more. They do not once `may_go_on` says no.
fn matches(tokens: &[Token], text: &[char], folds: bool, may_go_on: impl Fn() -> bool) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut retry = None;
    while at < text.len() {
        if !may_go_on() {
            return false;
        }
        match tokens.get(token) {
            Some(Token::Any) => {
                token += 1;
                retry = Some((token, at));
            }
            Some(Token::One) => (at, token) = (at + 1, token + 1),
            Some(Token::Char(wanted)) if is_same(*wanted, text[at], folds) => (at, token) = (at + 1, token + 1),
            _ => {
                let Some((behind, taken)) = retry else { return false };
                retry = Some((behind, taken + 1));
                (at, token) = (taken + 1, behind);
            }
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Any)
}

fn is_same(a: char, b: char, folds: bool) -> bool {
    a == b || (folds && a.to_lowercase().eq(b.to_lowercase()))
}
