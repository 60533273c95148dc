//! Whose policy it is.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::hmac;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::{
    Forms,
    form::{Form, missing},
};
use crate::error::Failure;

/// The one algorithm of version 4 for forms.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

impl Forms {
    /// The access key that signed the policy of `form`; `None` when there is neither policy nor signature.
    pub(super) async fn signer(&self, form: &Form) -> S3Result<Option<String>> {
        let field = |name| form.get(name).ok_or_else(|| missing(name));
        if let Some(signature) = form.get("x-amz-signature") {
            let scope = Scope::of(form)?;
            if let Some(region) = self.region.as_deref().filter(|region| *region != scope.region) {
                return Err(malformed(&format!("the region '{}' is wrong; expecting '{region}'", scope.region)));
            }
            let secret = self.secret(scope.access_key).await?;
            verified(is_v4(&secret, &scope, field("policy")?, signature))?;
            return Ok(Some(scope.access_key.to_owned()));
        }
        if let Some(signature) = form.get("signature") {
            if !self.allows_sigv2 {
                let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
                return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
            }
            let access_key = field("awsaccesskeyid").map_err(|_| missing("AWSAccessKeyId"))?;
            let secret = self.secret(access_key).await?;
            verified(is_v2(&secret, field("policy")?, signature))?;
            return Ok(Some(access_key.to_owned()));
        }
        // A policy nobody signed would be believed by whoever wrote it.
        if form.get("policy").is_some() { Err(missing("x-amz-signature")) } else { Ok(None) }
    }

    async fn secret(&self, access_key: &str) -> S3Result<umbra_store::Secret> {
        let key = self.catalog.key(access_key).await.map_err(Failure::from)?;
        Ok(key.ok_or(S3ErrorCode::InvalidAccessKeyId)?.secret.clone())
    }
}

fn verified(holds: bool) -> S3Result<()> {
    if holds { Ok(()) } else { Err(S3ErrorCode::SignatureDoesNotMatch.into()) }
}

fn malformed(why: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AuthorizationQueryParametersError, format!("Error parsing the X-Amz-Credential parameter; {why}"))
}

/// What a signature of version 4 is for.
#[derive(Debug, PartialEq, Eq)]
struct Scope<'a> {
    access_key: &'a str,
    day: &'a str,
    region: &'a str,
}

impl<'a> Scope<'a> {
    fn of(form: &'a Form) -> S3Result<Self> {
        let field = |name| form.get(name).ok_or_else(|| missing(name));
        if field("x-amz-algorithm")? != ALGORITHM {
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, format!("x-amz-algorithm must be {ALGORITHM}")));
        }
        // An access key may contain slashes; the scope behind it has exactly four parts.
        let mut scope = field("x-amz-credential")?.rsplitn(5, '/');
        let (Some("aws4_request"), Some("s3"), Some(region), Some(day), Some(access_key)) =
            (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
        else {
            return Err(malformed("it must be of the form KEY/YYYYMMDD/REGION/s3/aws4_request"));
        };
        if field("x-amz-date")?.get(..8) != Some(day) || day.len() != 8 {
            return Err(malformed("its day must be that of x-amz-date"));
        }
        Ok(Self { access_key, day, region })
    }
}

/// Whether `signature` is that of `policy` by version 4. Takes the same time whatever differs.
fn is_v4(secret: &umbra_store::Secret, scope: &Scope<'_>, policy: &str, signature: &str) -> bool {
    let Ok(given) = hex::decode(signature) else { return false };
    let derive = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let day = derive(format!("AWS4{}", secret.expose()).as_bytes(), scope.day);
    let service = derive(derive(day.as_ref(), scope.region).as_ref(), "s3");
    let key = derive(service.as_ref(), "aws4_request");
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), policy.as_bytes(), &given).is_ok()
}

/// Whether `signature` is that of `policy` by version 2. Takes the same time whatever differs.
fn is_v2(secret: &umbra_store::Secret, policy: &str, signature: &str) -> bool {
    let Ok(given) = BASE64.decode(signature) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    hmac::verify(&key, policy.as_bytes(), &given).is_ok()
}

#[cfg(test)]
mod tests {
    use umbra_store::Secret;

    use super::{Scope, is_v2, is_v4};
    use crate::post::form::Form;

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html>
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";

    fn form(credential: &str, date: &str) -> Form {
        Form::of(&[("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", credential), ("x-amz-date", date)])
    }

    #[test]
    fn the_documented_signature_is_recognized_and_no_other() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let form = form("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request", "20151229T000000Z");
        let scope = Scope::of(&form).unwrap();
        assert_eq!(scope, Scope { access_key: "AKIAIOSFODNN7EXAMPLE", day: "20151229", region: "us-east-1" });
        assert!(is_v4(&secret, &scope, POLICY, SIGNATURE));
        assert!(!is_v4(&secret, &scope, &POLICY[1..], SIGNATURE));
        assert!(!is_v4(&secret, &Scope { region: "eu-west-1", ..scope }, POLICY, SIGNATURE));
        for bad in ["", "zz", &SIGNATURE[2..]] {
            assert!(!is_v4(&secret, &Scope::of(&form).unwrap(), POLICY, bad), "{bad}");
        }
    }

    #[test]
    fn version_2_is_recognized() {
        // printf policy | openssl dgst -sha1 -hmac secret -binary | base64
        let secret = Secret::new("secret");
        assert!(is_v2(&secret, "policy", "DQYKsMXInaBeQ2OuQ0nMglptC1c="));
        assert!(!is_v2(&secret, "Policy", "DQYKsMXInaBeQ2OuQ0nMglptC1c="));
        assert!(!is_v2(&secret, "policy", ""));
    }

    #[test]
    fn scopes_that_make_no_sense_are_refused() {
        let cases = [
            ("K/20151229/r/s3/aws4_request", "20151230T000000Z"),
            ("K/20151229/r/iam/aws4_request", "20151229T000000Z"),
            ("K/20151229/r/s3", "20151229T000000Z"),
            ("K/2015/r/s3/aws4_request", "2015"),
            ("", ""),
        ];
        for (credential, date) in cases {
            assert!(Scope::of(&form(credential, date)).is_err(), "{credential} {date}");
        }
        assert_eq!(Scope::of(&form("a/b/20151229/r/s3/aws4_request", "20151229T000000Z")).unwrap().access_key, "a/b");
    }
}
