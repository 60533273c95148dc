//! The keys that conditions and variables ask for.

/// Keys that requests can have here, or that S3 has and requests never have here. A slip of the pen is neither, and would guard nothing.
const KEYS: [&str; 76] = [
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:currenttime",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:resourceorgid",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:tokenissuetime",
    "aws:tagkeys",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsservice",
    "aws:vpcsourceip",
    "s3:accesspointnetworkorigin",
    "s3:authtype",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:delimiter",
    "s3:if-match",
    "s3:if-none-match",
    "s3:inventoryaccessibleoptionalfields",
    "s3:locationconstraint",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:object-lock-retain-until-date",
    "s3:objectcreationoperation",
    "s3:prefix",
    "s3:requestobjecttagkeys",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:tlsversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-object-ownership",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-tagging",
    "s3:x-amz-tagging-directive",
    "s3:x-amz-website-redirect-location",
    "s3:bucketnamespace",
];
/// Keys that end with the key of a tag.
const WITH_TAGS: [&str; 6] =
    ["aws:principaltag", "aws:requesttag", "aws:resourcetag", "s3:buckettag", "s3:existingobjecttag", "s3:requestobjecttag"];

/// The key as it is asked for: in lower case, but for the key of a tag.
pub(super) fn canonical(key: &str) -> String {
    match key.split_once('/') {
        Some((key, tag)) => format!("{}/{tag}", key.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}

pub(super) fn is_of_existing_tag(key: &str) -> bool {
    key.starts_with("s3:existingobjecttag/")
}

/// Whether a condition may ask for `key`.
pub(super) fn is_known(key: &str) -> bool {
    match key.split_once('/') {
        Some((key, tag)) => WITH_TAGS.contains(&key) && !tag.is_empty(),
        None => KEYS.contains(&key),
    }
}
