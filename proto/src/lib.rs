//! Wire contracts of Muster and the code generated from them. There is no logic here: conversions to and from
//! the domain live in the server's `api/wire` and in the agent's `wire`.
//!
//! JSON of these messages (`-o json`) is protobuf's canonical mapping.

mod redacted;

/// A machine without identity: prove, send a CSR, receive a certificate.
pub mod enrolment {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("muster.enrolment.v1");
        include!(concat!(env!("OUT_DIR"), "/muster.enrolment.v1.serde.rs"));
    }
}

/// A node with identity: one stream, instructions down, reports up; renewal.
pub mod join {
    /// Version 1.
    #[expect(clippy::large_enum_variant, reason = "generated: a message is decoded into it and taken apart at once")]
    pub mod v1 {
        tonic::include_proto!("muster.join.v1");
        include!(concat!(env!("OUT_DIR"), "/muster.join.v1.serde.rs"));
    }
}

/// Operators: clusters, pools, nodes, tokens, permits, events.
pub mod admin {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("muster.admin.v1");
        include!(concat!(env!("OUT_DIR"), "/muster.admin.v1.serde.rs"));
    }
}

/// What only servers say, and only to each other.
pub mod internal {
    /// Raft and what goes with it.
    pub mod raft {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("muster.internal.raft.v1");
        }
    }
}

/// What Muster uses of etcd's own API (`etcdserverpb`): members listed and taken out, and the health of each.
pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}

/// Serialized `FileDescriptorSet` of all of the above, for reflection and for the access table's tests.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster.bin"));

/// Protobuf timestamps with their canonical JSON form.
pub use pbjson_types::Timestamp;
