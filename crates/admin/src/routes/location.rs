//! Where objects are to live, as people write it.

use crate::error::{ApiError, ApiResult};

/// Checks the form of a location: `global`, `multi:GEO`, `dual:A,B` or `single:REGION`.
pub(crate) fn check(location: &str) -> ApiResult<()> {
    let valid = match location.split_once(':') {
        None => location == "global",
        Some(("multi" | "single", place)) => is_place(place),
        Some(("dual", places)) => places.split_once(',').is_some_and(|(a, b)| is_place(a) && is_place(b) && a != b),
        Some(_) => false,
    };
    if valid {
        Ok(())
    } else {
        Err(ApiError::invalid(format!("no such location: {location} (global, multi:GEO, dual:A,B or single:REGION)")))
    }
}

fn is_place(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn locations_are_checked() {
        for good in ["global", "multi:eu", "dual:fra,ams", "single:us-east-1"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "Global", "global:eu", "multi", "multi:", "dual:fra", "dual:fra,fra", "dual:a,b,c", "single:a b", "triple:a"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
