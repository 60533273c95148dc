//! A bucket as a website.

/// How a bucket answers those who look at it as a website.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Website {
    /// What stands for a name that ends with a slash.
    pub index: Option<String>,
    /// The key of what is shown instead of an error.
    pub error: Option<String>,
    /// Where everybody is sent; then nothing else is set.
    pub redirect_all: Option<WebsiteRedirect>,
    /// Who is sent elsewhere; the first that applies counts.
    pub rules: Vec<RoutingRule>,
}

/// When a reader is sent elsewhere, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRule {
    /// What the key begins with.
    pub prefix: Option<String>,
    /// The status that would be answered.
    pub status: Option<u16>,
    /// Where.
    pub redirect: WebsiteRedirect,
}

/// Where a reader is sent. What is not said stays as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebsiteRedirect {
    /// The host.
    pub host: Option<String>,
    /// `http` or `https`.
    pub protocol: Option<String>,
    /// The status that is answered.
    pub status: Option<u16>,
    /// What stands in the place of the rule's prefix.
    pub prefix: Option<String>,
    /// The whole key.
    pub key: Option<String>,
}
