//! Reading what a machine asks for. A request proves a key; everything else in a certificate is ours to decide.

use muster_trust::{Pin, SpiffeId, statement};
use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_COMMON_NAME;
use x509_parser::prelude::{FromDer, X509Extension};

/// A P-256 request without anything in it has about 200 bytes.
const REQUEST_BYTES_MAX: usize = 4096;

/// A certificate request whose signature, key and contents were checked. It asks for nothing but an identity.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    spki_der: Vec<u8>,
    public_key: SubjectPublicKeyInfo,
    common_name: Option<String>,
    identity: Option<String>,
}

impl CertificateRequest {
    /// Reads a PKCS#10 request in DER.
    ///
    /// # Errors
    /// Unless it is one request of at most 4 KiB, signed with its own P-256 key, that asks for no extension but one URI
    /// name, has no other attribute, and no subject but one common name.
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Unreadable);
        };
        let info = &request.certification_request_info;
        let spki_der = info.subject_pki.raw.to_vec();
        statement::check_key(&spki_der).map_err(|_| RequestError::Key)?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        Ok(Self {
            public_key: SubjectPublicKeyInfo::from_der(&spki_der).map_err(|_| RequestError::Key)?,
            spki_der,
            common_name: common_name(&request)?,
            identity: identity(&request)?,
        })
    }

    /// The key that the request proves, as DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The fingerprint of that key, as it is shown to whoever approves.
    pub fn pin(&self) -> Pin {
        Pin::of_spki(&self.spki_der)
    }

    pub(super) const fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    /// Checks that the request names nobody: a machine that enrols has no id to name yet.
    ///
    /// # Errors
    /// [`RequestError::EarlyName`].
    pub fn check_nameless(&self) -> Result<(), RequestError> {
        if self.common_name.is_none() && self.identity.is_none() { Ok(()) } else { Err(RequestError::EarlyName) }
    }

    /// Checks that the request names nobody, or the holder of `identity` and no one else.
    ///
    /// # Errors
    /// If its subject is not the id, or its URI name is not the identity.
    pub fn check_names(&self, identity: &SpiffeId) -> Result<(), RequestError> {
        if self.common_name.as_deref().is_some_and(|name| name != identity.id()) {
            return Err(RequestError::OtherSubject { id: identity.id().to_owned() });
        }
        if self.identity.as_deref().is_some_and(|name| name != identity.to_string()) {
            return Err(RequestError::OtherIdentity { identity: identity.to_string() });
        }
        Ok(())
    }
}

fn common_name(request: &X509CertificationRequest<'_>) -> Result<Option<String>, RequestError> {
    let subject = &request.certification_request_info.subject;
    let attributes: Vec<_> = subject.iter_attributes().collect();
    match attributes.as_slice() {
        [] => Ok(None),
        [one] if *one.attr_type() == OID_X509_COMMON_NAME => {
            one.as_str().map(|name| Some(name.to_owned())).map_err(|_| RequestError::Subject)
        }
        _ => Err(RequestError::Subject),
    }
}

fn identity(request: &X509CertificationRequest<'_>) -> Result<Option<String>, RequestError> {
    let attributes = request.certification_request_info.attributes();
    let extensions = match attributes {
        [] => return Ok(None),
        [one] => match one.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => &requested.extensions,
            _ => return Err(RequestError::Attribute),
        },
        _ => return Err(RequestError::Attribute),
    };
    match extensions.as_slice() {
        [] => Ok(None),
        [one] => only_uri(one).map(Some),
        // The worst first, for a clear refusal.
        several => match several.iter().map(only_uri).find_map(Result::err) {
            Some(error) => Err(error),
            None => Err(RequestError::Names),
        },
    }
}

fn only_uri(extension: &X509Extension<'_>) -> Result<String, RequestError> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => match names.general_names.as_slice() {
            [GeneralName::URI(uri)] => Ok((*uri).to_owned()),
            _ => Err(RequestError::Names),
        },
        ParsedExtension::BasicConstraints(constraints) if constraints.ca => Err(RequestError::Authority),
        _ => Err(RequestError::Extension { oid: extension.oid.to_id_string() }),
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than any honest request.
    #[error("the certificate request is longer than 4096 bytes")]
    TooLong,
    /// Not one PKCS#10 request.
    #[error("not one certificate request in DER")]
    Unreadable,
    /// Another kind of key.
    #[error("the key in the certificate request must be a P-256 key with an uncompressed point")]
    Key,
    /// The requester does not hold the key.
    #[error("the certificate request is not signed with its own key")]
    Signature,
    /// A subject of more than a common name.
    #[error("the subject of the certificate request must be empty, or one common name that is the id")]
    Subject,
    /// The common name of somebody else.
    #[error("the subject of the certificate request must be empty or {id}")]
    OtherSubject {
        /// The id that would be certified.
        id: String,
    },
    /// A name before there is one.
    #[error("a machine that enrols has no id yet; the certificate request must name nobody")]
    EarlyName,
    /// An attribute other than one request for extensions.
    #[error("the certificate request carries an attribute that is not granted; leave all attributes out")]
    Attribute,
    /// It asks to be a certificate authority.
    #[error("the certificate request asks for a certificate authority")]
    Authority,
    /// It asks for an extension.
    #[error("the certificate request asks for the extension {oid}, which is not granted; leave all extensions out")]
    Extension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// It asks for other names than one URI.
    #[error("the certificate request may name nothing but its own identity, as one URI")]
    Names,
    /// It names somebody else.
    #[error("the certificate request may name no identity but {identity}")]
    OtherIdentity {
        /// The identity that would be certified.
        identity: String,
    },
}

#[cfg(test)]
mod tests;
