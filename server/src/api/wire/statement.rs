//! What a machine signs at its enrolment.

use muster_proto::enrolment::v1::Statement as Wire;
use prost::Message as _;

use super::facts;
use crate::operations::enrol_machine::Claims;

/// Parses the signed bytes. Nothing is verified here.
pub fn parse(signed: &[u8]) -> Result<Claims, String> {
    let Ok(Wire { nonce, fleet, csr_der, sealing_public_key, facts }) = Wire::decode(signed) else {
        return Err("the statement is no enrolment statement".to_owned());
    };
    let facts = facts::parse(facts.unwrap_or_default())?;
    Ok(Claims { nonce, fleet, csr_der, sealing_key: sealing_public_key, facts })
}
