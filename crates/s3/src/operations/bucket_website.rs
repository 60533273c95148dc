//! PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite. [`crate::website`] serves by it.

use s3s::{
    S3ErrorCode, S3Request, S3Response, dto,
    dto::{
        DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput, GetBucketWebsiteInput, GetBucketWebsiteOutput, PutBucketWebsiteInput,
        PutBucketWebsiteOutput,
    },
};
use umbra_core::{Error, Fault, limits};
use umbra_store::{RoutingRule, Website, WebsiteRedirect};

use super::{Operations, settings::change_extras};
use crate::{
    call::Call,
    error::{Answer, Failure},
};

/// Rules of one bucket. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html>
const RULES_MAX: usize = 50;
/// The longest host name.
const HOST_BYTES_MAX: usize = 253;

/// Sets how the bucket answers as a website.
pub(super) async fn put_bucket_website(
    operations: &Operations,
    request: S3Request<PutBucketWebsiteInput>,
) -> Answer<PutBucketWebsiteOutput> {
    let call = Call::of(&request)?;
    let website = taken(request.input.website_configuration)?;
    change_extras(operations, &call, |extras| extras.website = Some(website.clone())).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

/// Shows it.
pub(super) async fn get_bucket_website(
    _operations: &Operations,
    request: S3Request<GetBucketWebsiteInput>,
) -> Answer<GetBucketWebsiteOutput> {
    let call = Call::of(&request)?;
    let website = call.bucket()?.settings.extras.website.clone().ok_or(S3ErrorCode::NoSuchWebsiteConfiguration)?;
    let to = |redirect: WebsiteRedirect| dto::RedirectAllRequestsTo {
        host_name: redirect.host.unwrap_or_default(),
        protocol: redirect.protocol.map(Into::into),
    };
    let rules: Vec<_> = website.rules.into_iter().map(shown).collect();
    Ok(S3Response::new(GetBucketWebsiteOutput {
        error_document: website.error.map(|key| dto::ErrorDocument { key }),
        index_document: website.index.map(|suffix| dto::IndexDocument { suffix }),
        redirect_all_requests_to: website.redirect_all.map(to),
        routing_rules: (!rules.is_empty()).then_some(rules),
    }))
}

/// Removes it.
pub(super) async fn delete_bucket_website(
    operations: &Operations,
    request: S3Request<DeleteBucketWebsiteInput>,
) -> Answer<DeleteBucketWebsiteOutput> {
    let call = Call::of(&request)?;
    change_extras(operations, &call, |extras| extras.website = None).await?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput::default()))
}

fn taken(configuration: dto::WebsiteConfiguration) -> Result<Website, Failure> {
    let dto::WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules } = configuration;
    let rules = routing_rules.unwrap_or_default();
    if let Some(all) = redirect_all_requests_to {
        if error_document.is_some() || index_document.is_some() || !rules.is_empty() {
            return Err(argument("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."));
        }
        let redirect =
            WebsiteRedirect { host: host(Some(all.host_name))?, protocol: protocol(all.protocol)?, ..WebsiteRedirect::default() };
        return Ok(Website { redirect_all: Some(redirect), ..Website::default() });
    }
    let index =
        index_document.ok_or_else(|| argument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"))?;
    if index.suffix.is_empty() || index.suffix.contains('/') || index.suffix.len() > limits::KEY_BYTES_MAX {
        return Err(argument("The IndexDocument Suffix is not well formed"));
    }
    if rules.len() > RULES_MAX {
        return Err(request(format!("a website has at most {RULES_MAX} routing rules")));
    }
    Ok(Website {
        index: Some(index.suffix),
        error: key(error_document.map(|document| document.key))?,
        redirect_all: None,
        rules: rules.into_iter().map(rule).collect::<Result<_, _>>()?,
    })
}

fn rule(rule: dto::RoutingRule) -> Result<RoutingRule, Failure> {
    let dto::Redirect { host_name, http_redirect_code, protocol: scheme, replace_key_prefix_with, replace_key_with } = rule.redirect;
    if replace_key_prefix_with.is_some() && replace_key_with.is_some() {
        return Err(request("You can only define ReplaceKeyPrefix or ReplaceKey but not both.".to_owned()));
    }
    let condition = rule.condition.unwrap_or_default();
    let redirect = WebsiteRedirect {
        host: host(host_name)?,
        protocol: protocol(scheme)?,
        status: status(http_redirect_code, 300..=399, "HttpRedirectCode")?,
        prefix: key(replace_key_prefix_with)?,
        key: key(replace_key_with)?,
    };
    if redirect == WebsiteRedirect::default() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    Ok(RoutingRule {
        prefix: key(condition.key_prefix_equals)?,
        status: status(condition.http_error_code_returned_equals, 400..=599, "HttpErrorCodeReturnedEquals")?,
        redirect,
    })
}

fn shown(rule: RoutingRule) -> dto::RoutingRule {
    let condition = (rule.prefix.is_some() || rule.status.is_some()).then(|| dto::Condition {
        http_error_code_returned_equals: rule.status.map(|status| status.to_string()),
        key_prefix_equals: rule.prefix,
    });
    let WebsiteRedirect { host, protocol, status, prefix, key } = rule.redirect;
    let redirect = dto::Redirect {
        host_name: host,
        http_redirect_code: status.map(|status| status.to_string()),
        protocol: protocol.map(Into::into),
        replace_key_prefix_with: prefix,
        replace_key_with: key,
    };
    dto::RoutingRule { condition, redirect }
}

fn host(host: Option<String>) -> Result<Option<String>, Failure> {
    let is_host =
        |host: &String| !host.is_empty() && host.len() <= HOST_BYTES_MAX && !host.contains(|c: char| c.is_whitespace() || c == '/');
    match host {
        Some(host) if !is_host(&host) => Err(argument("The HostName is not well formed")),
        host => Ok(host),
    }
}

fn protocol(protocol: Option<dto::Protocol>) -> Result<Option<String>, Failure> {
    match protocol.as_ref().map(dto::Protocol::as_str) {
        None => Ok(None),
        Some(protocol @ (dto::Protocol::HTTP | dto::Protocol::HTTPS)) => Ok(Some(protocol.to_owned())),
        Some(_) => Err(request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.".to_owned(),
        )),
    }
}

fn key(key: Option<String>) -> Result<Option<String>, Failure> {
    match key {
        Some(key) if key.len() > limits::KEY_BYTES_MAX => Err(argument("The key is longer than 1024 bytes")),
        key => Ok(key),
    }
}

fn status(code: Option<String>, within: std::ops::RangeInclusive<u16>, what: &str) -> Result<Option<u16>, Failure> {
    let Some(code) = code else { return Ok(None) };
    let known = code.parse().ok().filter(|code| within.contains(code));
    known.map(Some).ok_or_else(|| {
        request(format!("The provided HTTP {what} ({code}) is not valid. Valid codes are {}-{}.", within.start(), within.end()))
    })
}

fn argument(message: &str) -> Failure {
    Error::invalid(Fault::InvalidArgument, message).into()
}

fn request(message: String) -> Failure {
    Error::invalid(Fault::InvalidRequest, message).into()
}
