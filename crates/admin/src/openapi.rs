//! The description of the API that `/v1/openapi.json` serves.
//!
//! Put together by hand: a few helpers are easier to follow than a generator and its annotations. Tests hold it to the routes
//! and to the types: a route or a field that is not described fails them.

mod paths;
mod schemas;

use serde_json::{Value, json};

/// The document, OpenAPI 3.1.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Umbra admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Buckets, their origins, organizations and access keys.",
            "description": "Every call but the unsigned ones is signed with AWS Signature Version 4, service `umbra`, any region, \
                with the SHA-256 of the body. The root key may do everything, an organization's admin key everything within it; \
                other keys may ask for the status of the buckets they reach. A 503 with the code `no_leader` says that nothing was done, \
                because no node led that could do it: ask again.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "sigv4": [] }],
        "paths": paths::paths(),
        "components": {
            "schemas": schemas::schemas(),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4 in the Authorization header, service `umbra`.",
                },
            },
        },
    })
}

#[cfg(test)]
mod tests;
