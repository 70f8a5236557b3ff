//! Signatures of model folders as OpenSSF Model Signing has them: what `model_signing` writes is read here, and the other
//! way round.
//!
//! | layer | is |
//! |---|---|
//! | Sigstore bundle v0.3 | JSON: which public key, no transparency log, an envelope |
//! | DSSE envelope | a payload, its type, and a signature over both (ECDSA, P-256 or P-384) |
//! | in-toto statement v1 | the model's name and one digest over all files; the predicate lists them |
//!
//! Source: the specifications of DSSE 1.0, in-toto attestation v1 and Sigstore bundle v0.3, and the predicate
//! `https://model_signing/signature/v1.0`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        EcdsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};
use tinyops_store::{Digest, DigestBuilder};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";
/// What no signature covers, whoever made it.
pub(crate) const IGNORED: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];
/// Bytes of a signature at most: a hundred thousand files.
const BUNDLE_BYTES_MAX: usize = 32 << 20;

/// The start of a public key on P-256 as RFC 5480 writes it; 65 bytes of its point follow.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same on P-384; 97 bytes follow.
const P384_HEAD: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// Why a key or a signature cannot be used, or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// The file holds no private key.
    #[error("it holds no private key on P-256 or P-384 in PEM")]
    PrivateKey,
    /// The file holds no public key.
    #[error("it holds no public key on P-256 or P-384 in PEM")]
    PublicKey,
    /// The bundle is none.
    #[error("it is no signature of a model: {0}")]
    Form(String),
    /// It is of a kind that is not checked here.
    #[error("it is signed in a way that is not checked here: {0}")]
    Kind(String),
    /// It was made with another key.
    #[error("it was made with another key")]
    OtherKey,
    /// What it says was changed, or it was never made with this key.
    #[error("the signature does not hold for what it says")]
    Broken,
}

/// A file of a model, by its path below the model's folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signed {
    pub(crate) path: String,
    pub(crate) digest: Digest,
}

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The model's name.
    pub(crate) name: String,
    /// Its files.
    pub(crate) files: Vec<Signed>,
    /// Files and folders that were left out.
    pub(crate) ignored: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    algorithm: String,
    digest: String,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// A private key to sign with.
pub(crate) struct Key {
    signing: std::sync::Arc<dyn rustls::sign::SigningKey>,
}

impl Key {
    /// Reads PEM: PKCS#8 or SEC 1.
    pub(crate) fn of_pem(pem: &[u8]) -> Result<Key, SignatureError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SignatureError::PrivateKey)?;
        let signing = any_ecdsa_type(&key).map_err(|_| SignatureError::PrivateKey)?;
        let key = Key { signing };
        PublicKey::of_der(key.public_der().as_ref())
            .map(|_| key)
            .map_err(|_| SignatureError::PrivateKey)
    }

    /// A new key on P-256, as PEM.
    pub(crate) fn new_pem() -> String {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let made = made.expect("the system has randomness");
        pem("PRIVATE KEY", made.as_ref())
    }

    /// Its public half, as PEM.
    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", self.public_der().as_ref())
    }

    fn public_der(&self) -> SubjectPublicKeyInfoDer<'_> {
        let public = self.signing.public_key();
        public.expect("rustls tells the public half of every key of ring")
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let schemes = [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
        ];
        let signer = self.signing.choose_scheme(&schemes);
        let signer = signer.ok_or(SignatureError::PrivateKey)?;
        signer.sign(message).map_err(|_| SignatureError::PrivateKey)
    }
}

/// A public key to check with.
pub(crate) struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    point: Vec<u8>,
    /// SHA-256 over its PEM, by which bundles name it.
    hint: String,
}

impl PublicKey {
    /// Reads PEM.
    pub(crate) fn of_pem(pem: &[u8]) -> Result<PublicKey, SignatureError> {
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| SignatureError::PublicKey)?;
        PublicKey::of_der(der.as_ref())
    }

    fn of_der(der: &[u8]) -> Result<PublicKey, SignatureError> {
        let (algorithm, point): (&'static dyn VerificationAlgorithm, &[u8]) =
            match (der.strip_prefix(&P256_HEAD), der.strip_prefix(&P384_HEAD)) {
                (Some(point), _) if point.len() == 65 => (&ECDSA_P256_SHA256_ASN1, point),
                (_, Some(point)) if point.len() == 97 => (&ECDSA_P384_SHA384_ASN1, point),
                _ => return Err(SignatureError::PublicKey),
            };
        Ok(PublicKey {
            algorithm,
            point: point.to_vec(),
            hint: Digest::of(pem("PUBLIC KEY", der).as_bytes()).to_string(),
        })
    }
}

/// Signs a model's files, and gives the bundle.
pub(crate) fn sign(key: &Key, said: &Said) -> Result<String, SignatureError> {
    let mut files = said.files.clone();
    files.sort();
    let resource = |file: &Signed| Resource {
        algorithm: "sha256".to_owned(),
        digest: file.digest.to_string(),
        name: file.path.clone(),
    };
    let statement = Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![Subject {
            name: said.name.clone(),
            digest: SubjectDigest {
                sha256: over_all(&files).to_string(),
            },
        }],
        predicate_type: PREDICATE.to_owned(),
        predicate: Predicate {
            resources: files.iter().map(resource).collect(),
            serialization: Serialization {
                method: "files".to_owned(),
                hash_type: "sha256".to_owned(),
                allow_symlinks: false,
                ignore_paths: said.ignored.clone(),
            },
        },
    };
    let payload = serde_json::to_vec(&statement).expect("a statement has string keys");
    let signature = key.sign(&to_be_signed(PAYLOAD, &payload))?;
    let bundle = Bundle {
        media_type: BUNDLE.to_owned(),
        verification_material: Material {
            public_key: Some(KeyHint {
                hint: Some(Digest::of(key.public_pem().as_bytes()).to_string()),
            }),
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Some(Envelope {
            payload: BASE64.encode(payload),
            payload_type: PAYLOAD.to_owned(),
            signatures: vec![EnvelopeSignature {
                sig: BASE64.encode(signature),
                keyid: String::new(),
            }],
        }),
    };
    Ok(serde_json::to_string(&bundle).expect("a bundle has string keys") + "\n")
}

/// What a bundle says, if it was signed with the key.
pub(crate) fn verify(bundle: &str, key: &PublicKey) -> Result<Said, SignatureError> {
    if bundle.len() > BUNDLE_BYTES_MAX {
        return Err(SignatureError::Form("it is too long".to_owned()));
    }
    let form = |error: serde_json::Error| SignatureError::Form(error.to_string());
    let bundle: Bundle = serde_json::from_str(bundle).map_err(form)?;
    if bundle.media_type != BUNDLE {
        return Err(SignatureError::Kind(format!(
            "a bundle `{}`",
            bundle.media_type
        )));
    }
    let material = bundle.verification_material.public_key;
    let material =
        material.ok_or_else(|| SignatureError::Kind("without a public key".to_owned()))?;
    if material
        .hint
        .is_some_and(|hint| !hint.is_empty() && hint != key.hint)
    {
        return Err(SignatureError::OtherKey);
    }
    let none = || SignatureError::Form("it holds no envelope with a signature".to_owned());
    let envelope = bundle.dsse_envelope.ok_or_else(none)?;
    let base64 = |text: &str| {
        let decoded = BASE64.decode(text);
        decoded.map_err(|error| SignatureError::Form(error.to_string()))
    };
    let payload = base64(&envelope.payload)?;
    let signature = base64(&envelope.signatures.first().ok_or_else(none)?.sig)?;
    UnparsedPublicKey::new(key.algorithm, &key.point)
        .verify(&to_be_signed(&envelope.payload_type, &payload), &signature)
        .map_err(|_| SignatureError::Broken)?;
    if envelope.payload_type != PAYLOAD {
        return Err(SignatureError::Kind(format!(
            "a payload `{}`",
            envelope.payload_type
        )));
    }
    said(serde_json::from_slice(&payload).map_err(form)?)
}

/// What a statement says that was signed.
fn said(statement: Statement) -> Result<Said, SignatureError> {
    let kind = |what: String| Err(SignatureError::Kind(what));
    if statement.kind != STATEMENT {
        return kind(format!("a statement `{}`", statement.kind));
    }
    if statement.predicate_type != PREDICATE {
        return kind(format!("a predicate `{}`", statement.predicate_type));
    }
    let how = statement.predicate.serialization;
    if how.method != "files" || how.hash_type != "sha256" {
        return kind(format!(
            "{} by {}; files by sha256 are",
            how.method, how.hash_type
        ));
    }
    if how.allow_symlinks {
        return kind("symbolic links are followed".to_owned());
    }
    let [subject] = statement.subject.as_slice() else {
        return Err(SignatureError::Form("it names not one model".to_owned()));
    };
    let mut files = Vec::with_capacity(statement.predicate.resources.len());
    for resource in statement.predicate.resources {
        let digest = resource.digest.parse();
        files.push(Signed {
            digest: digest
                .map_err(|_| SignatureError::Form(format!("`{}` has no digest", resource.name)))?,
            path: resource.name,
        });
    }
    if over_all(&files).to_string() != subject.digest.sha256 {
        return Err(SignatureError::Form(
            "its files do not add up to its subject".to_owned(),
        ));
    }
    Ok(Said {
        name: subject.name.clone(),
        files,
        ignored: how.ignore_paths,
    })
}

/// One digest over the digests of all files, in their order.
fn over_all(files: &[Signed]) -> Digest {
    let mut builder = DigestBuilder::new();
    for file in files {
        builder.update(&file.digest.0);
    }
    builder.finish()
}

/// What DSSE signs: `DSSEv1`, and type and payload with their lengths.
fn to_be_signed(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// PEM of RFC 7468: lines of 64 letters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out += &String::from_utf8_lossy(line);
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `model_signing sign key` of the package model-signing 1.1.1.
    const THEIRS: &str = include_str!("model_signature/theirs.sig");
    const THEIR_KEY: &str = include_str!("model_signature/theirs.pub");

    fn example() -> Said {
        let file = |path: &str, text: &[u8]| Signed {
            path: path.to_owned(),
            digest: Digest::of(text),
        };
        Said {
            name: "fan@3".to_owned(),
            files: vec![file("a.bin", b"hello\n"), file("sub/b.txt", b"world\n")],
            ignored: IGNORED.map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn what_the_stock_tool_signed_is_read() {
        let key = PublicKey::of_pem(THEIR_KEY.as_bytes()).unwrap();
        let said = verify(THEIRS, &key).unwrap();
        assert_eq!((said.name.as_str(), &said.files), ("m", &example().files));
        assert!(
            said.ignored
                .iter()
                .all(|path| IGNORED.contains(&path.as_str()))
        );
        let other = Key::of_pem(Key::new_pem().as_bytes()).unwrap();
        let other = PublicKey::of_pem(other.public_pem().as_bytes()).unwrap();
        assert_eq!(verify(THEIRS, &other), Err(SignatureError::OtherKey));
    }

    #[test]
    fn what_is_signed_here_reads_back_and_no_change_is_taken() {
        let key = Key::of_pem(Key::new_pem().as_bytes()).unwrap();
        let public = PublicKey::of_pem(key.public_pem().as_bytes()).unwrap();
        let bundle = sign(&key, &example()).unwrap();
        assert_eq!(verify(&bundle, &public), Ok(example()));
        // A changed letter is an error, or changes nothing that is said.
        for at in 0..bundle.len() {
            for letter in ["A", "}", "0"] {
                let mut changed = bundle.clone();
                changed.replace_range(at..=at, letter);
                if let Ok(said) = verify(&changed, &public) {
                    assert_eq!(said, example(), "{changed}");
                }
            }
        }
    }

    #[test]
    fn a_statement_that_is_signed_and_none_is_refused() {
        let refused = |change: fn(&mut Statement)| {
            let files = example().files;
            let mut statement = Statement {
                kind: STATEMENT.to_owned(),
                subject: vec![Subject {
                    name: "m".to_owned(),
                    digest: SubjectDigest {
                        sha256: over_all(&files).to_string(),
                    },
                }],
                predicate_type: PREDICATE.to_owned(),
                predicate: Predicate {
                    resources: vec![Resource {
                        algorithm: "sha256".to_owned(),
                        digest: files[0].digest.to_string(),
                        name: files[0].path.clone(),
                    }],
                    serialization: Serialization {
                        method: "files".to_owned(),
                        hash_type: "sha256".to_owned(),
                        allow_symlinks: false,
                        ignore_paths: Vec::new(),
                    },
                },
            };
            change(&mut statement);
            said(statement).unwrap_err()
        };
        let is_kind = |error| matches!(error, SignatureError::Kind(_));
        assert!(is_kind(refused(|it| it.kind.push('0'))));
        assert!(is_kind(refused(|it| it.predicate_type.push('0'))));
        assert!(is_kind(refused(
            |it| it.predicate.serialization.method = "shards".into()
        )));
        assert!(is_kind(refused(|it| it
            .predicate
            .serialization
            .allow_symlinks = true)));
        let is_form = |error| matches!(error, SignatureError::Form(_));
        assert!(is_form(refused(|it| it.subject.clear())));
        assert!(is_form(refused(|_| {})), "one file is missing from the sum");
    }

    #[test]
    fn keys_of_other_kinds_are_no_keys() {
        for pem in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert_eq!(
                Key::of_pem(pem.as_bytes()).err(),
                Some(SignatureError::PrivateKey)
            );
        }
        let key = pem("PUBLIC KEY", &[P256_HEAD.as_slice(), &[4; 64]].concat());
        assert_eq!(
            PublicKey::of_pem(key.as_bytes()).err(),
            Some(SignatureError::PublicKey)
        );
    }
}
