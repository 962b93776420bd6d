//! What the PKCS#10 of a cluster's certificate request asks for, as the rules want to see it. Nothing here decides.

use muster_state::{Digest, csr::CsrContent};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME},
    prelude::FromDer,
};

/// Longest PKCS#10 that is looked into, bytes of PEM: with an RSA-4096 key and many addresses it has 4 KiB.
const PEM_MAX: usize = 64 * 1024;

/// SHA-256 of the PKCS#10, as it was posted.
#[must_use]
pub fn digest(pem: &[u8]) -> Digest {
    Digest(Sha256::digest(pem).into())
}

/// `None` unless it is one PKCS#10 in PEM with nothing else around it, signed with its own key.
#[must_use]
pub fn content(pem: &[u8]) -> Option<CsrContent> {
    if pem.len() > PEM_MAX {
        return None;
    }
    let mut found = CertificateSigningRequestDer::pem_slice_iter(pem);
    let (der, None) = (found.next()?.ok()?, found.next()) else { return None };
    let Ok(([], request)) = X509CertificationRequest::from_der(&der) else { return None };
    request.verify_signature().ok()?;
    let mut content = CsrContent::default();
    let info = &request.certification_request_info;
    for attribute in info.subject.iter_attributes() {
        let text = attribute.as_str().ok()?.to_owned();
        if *attribute.attr_type() == OID_X509_COMMON_NAME {
            content.common_names.push(text);
        } else if *attribute.attr_type() == OID_X509_ORGANIZATION_NAME {
            content.organizations.push(text);
        } else {
            content.others.push(format!("subject {}", attribute.attr_type()));
        }
    }
    for attribute in info.attributes() {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(asked) => {
                asked.extensions.iter().for_each(|extension| add(&mut content, extension));
            }
            _ => content.others.push(format!("attribute {}", attribute.oid)),
        }
    }
    Some(content)
}

fn add(content: &mut CsrContent, extension: &x509_parser::extensions::X509Extension<'_>) {
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return content.others.push(format!("extension {}", extension.oid));
    };
    for name in &names.general_names {
        match name {
            GeneralName::DNSName(name) => content.dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => content.addresses.push(address),
                None => content.others.push("an address that is none".into()),
            },
            other => content.others.push(format!("name {other}")),
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())).ok()
}
