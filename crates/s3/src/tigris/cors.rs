//! CORS rules as Tigris's clients write them.

use serde::{Deserialize, Serialize};
use umbra_core::Result;
use umbra_store::CorsRule;

/// `cors`.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Document {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    allowed_origin: Vec<String>,
    #[serde(default)]
    allowed_methods: Vec<String>,
    #[serde(default)]
    allowed_headers: Option<Vec<String>>,
    #[serde(default)]
    expose_headers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
}

/// The rules as they are shown.
pub(super) fn shown(rules: &[CorsRule]) -> Document {
    let rule = |rule: &CorsRule| Rule {
        id: rule.id.clone(),
        allowed_origin: rule.origins.clone(),
        allowed_methods: rule.methods.clone(),
        allowed_headers: Some(rule.headers.clone()),
        expose_headers: Some(rule.exposed.clone()),
        max_age: rule.max_age_seconds,
    };
    Document { rules: rules.iter().map(rule).collect() }
}

/// The rules that `document` sets.
pub(super) fn taken(document: Document) -> Result<Vec<CorsRule>> {
    let mut rules: Vec<_> = document
        .rules
        .into_iter()
        .map(|rule| CorsRule {
            id: rule.id,
            origins: rule.allowed_origin,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            exposed: rule.expose_headers.unwrap_or_default(),
            max_age_seconds: rule.max_age,
        })
        .collect();
    // A rule without methods is one for readers.
    for rule in rules.iter_mut().filter(|rule| rule.methods.is_empty()) {
        rule.methods = vec!["GET".to_owned(), "HEAD".to_owned()];
    }
    crate::cors::check(&rules)?;
    Ok(rules)
}
