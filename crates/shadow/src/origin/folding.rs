//! Origins that take keys for paths: what is written as `a//b` reaches `a/b` there, and replaces what that key held.

use bytes::Bytes;
use tokio::sync::OnceCell;
use umbra_core::{Body, Error, ErrorKind, Fault, ObjectKey, Random, SystemRandom};

use super::{Origin, OriginAttributes, OriginError, PutConditions, Result, ShadowPath};
use crate::attach::PROBE_KEY_PREFIX;

/// What of a key means something in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `a//b`
    Empty,
    /// `a/./b`
    Dot,
    /// `a/../b`
    DotDot,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::Empty, Self::Dot, Self::DotDot];

    /// A key of this form.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::Empty => "a//b",
            Self::Dot => "a/./b",
            Self::DotDot => "a/../b",
        }
    }

    /// Whether `key` has this form. A slash at the end is none: it names a directory in paths as well.
    fn is_of(self, key: &ObjectKey) -> bool {
        let (all, _) = key.as_str().rsplit_once('/').unwrap_or_default();
        match self {
            Self::Empty => key.as_str().contains('/') && all.split('/').any(str::is_empty),
            Self::Dot => key.as_str().split('/').any(|name| name == "."),
            Self::DotDot => key.as_str().split('/').any(|name| name == ".."),
        }
    }

    /// A key of ours of this form below `place`, and what a path makes of it: no more than another key of ours.
    fn trial(self, place: &str) -> (String, String) {
        match self {
            Self::Empty => (format!("{place}/1//x"), format!("{place}/1/x")),
            Self::Dot => (format!("{place}/2/./x"), format!("{place}/2/x")),
            Self::DotDot => (format!("{place}/3/y/../x"), format!("{place}/3/x")),
        }
    }
}

/// Which forms an origin folds, as far as it was tried.
#[derive(Debug, Default)]
pub(crate) struct Folding([OnceCell<bool>; 3]);

impl Folding {
    /// Refuses to write `key` if the origin would take it for another. Found out once for each form, by trying.
    pub(crate) async fn refuse(&self, origin: &dyn Origin, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        for form in Form::ALL.into_iter().filter(|form| form.is_of(key) && !key.as_str().starts_with(PROBE_KEY_PREFIX)) {
            // A place of its own: who tries the same at the same time would delete the keys.
            let random: &dyn Random = &SystemRandom;
            let place = format!("{PROBE_KEY_PREFIX}path-{}", hex::encode(random.array::<8>()));
            if *self.0[form as usize].get_or_try_init(|| folds(origin, path, &place, form)).await? {
                let example = form.example();
                let message = format!("the origin takes keys such as {example} for others and would replace those; choose another key");
                return Err(OriginError::certain(Error::invalid(Fault::InvalidRequest, message)));
            }
        }
        Ok(())
    }
}

/// Whether the origin takes keys of a form for others: tried on keys of ours below `place`, which are deleted again.
pub(crate) async fn folds(origin: &dyn Origin, path: &ShadowPath, place: &str, form: Form) -> Result<bool> {
    let (odd, folded) = form.trial(place);
    let key = |name: &str| ObjectKey::parse(name).map_err(OriginError::certain);
    let (odd, folded) = (key(&odd)?, key(&folded)?);
    let (attributes, conditions) = (OriginAttributes::default(), PutConditions::default());
    let body = Body::from_bytes(Bytes::from_static(b"umbra"));
    match origin.put(path, &odd, 5, body, &attributes, &conditions).await {
        Ok(_) => {}
        // It takes no such key, and says so to whoever writes one.
        Err(error) if matches!(error.error.kind(), ErrorKind::Invalid(_) | ErrorKind::NotFound(_) | ErrorKind::Unsupported) => {
            return Ok(false);
        }
        Err(error) => return Err(OriginError::certain(error.error)),
    }
    let found = origin.head(path, &folded).await;
    for key in [&odd, &folded] {
        origin.delete(path, key).await.map_err(|error| OriginError::certain(error.error))?;
    }
    match found {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::ObjectKey;

    use super::Form;

    #[test]
    fn forms_are_told() {
        let forms = |key: &str| Form::ALL.into_iter().filter(|form| form.is_of(&ObjectKey::parse(key).unwrap())).collect::<Vec<_>>();
        for plain in ["a", "a/b", "a/", "a/b/", ".a/..b/c.", "...", "a b"] {
            assert_eq!(forms(plain), [], "{plain}");
        }
        for (key, form) in [("a//b", Form::Empty), ("/a", Form::Empty), ("a//", Form::Empty), ("./a", Form::Dot), ("a/..", Form::DotDot)] {
            assert_eq!(forms(key), [form], "{key}");
        }
        assert_eq!(forms("/./../a"), Form::ALL);
        for form in Form::ALL {
            let (odd, folded) = form.trial("p");
            assert_eq!((forms(&odd), forms(&folded)), (vec![form], vec![]));
        }
    }
}
