//! The one broker of these tests.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

use serde_json::json;

use super::certificates::Certificates;
use super::issuer::Issuer;
use super::support::acl::{Operation, Resource, grant_to};
use super::support::client::Client;
use super::support::cluster::{Cluster, Extras};
use super::support::here;
use super::support::process::scratch;
use super::support::worker::Pipeline;

/// Of every user that has one.
pub const PASSWORD: &str = "correct-horse-battery-staple";
/// Users with PLAIN: one for each case.
pub const CASES: &[&str] = &[
    "plain",
    "read-input",
    "see-input",
    "pattern",
    "write-output",
    "see-output",
    "write-route",
    "write-dead",
    "see-dead",
    "read-group",
    "see-group",
    "write-id",
    "see-id",
    "made-id",
    "at-least-once",
    "planted",
];

pub struct Broker {
    pub cluster: Cluster,
    pub certificates: Certificates,
    pub issuer: Issuer,
    pub client: Client,
    scenes: Mutex<BTreeSet<String>>,
}

impl Broker {
    pub fn shared() -> &'static Self {
        static ONE: OnceLock<Broker> = OnceLock::new();
        ONE.get_or_init(Self::start)
    }

    fn start() -> Self {
        let certificates = Certificates::make(&scratch("certificates"));
        let issuer = Issuer::start();
        let keystore = |listener: &str, file: &str| {
            format!(
                "listener.name.{listener}.ssl.keystore.type=PEM
listener.name.{listener}.ssl.keystore.location={}
listener.name.{listener}.ssl.truststore.type=PEM
listener.name.{listener}.ssl.truststore.location={}
",
                certificates.path(file),
                certificates.path("ca.pem")
            )
        };
        let users: String = CASES.iter().map(|case| format!(" user_{}=\"{PASSWORD}\"", user(case))).collect();
        let properties = [
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,\
             TLS:SSL,MUTUAL:SSL,EXPIRED:SSL,ELSEWHERE:SSL,SECURED:SASL_SSL,PLAIN_ONLY:SASL_SSL,TOKENS:SASL_SSL\n"
                .to_owned(),
            keystore("tls", "broker.pem"),
            keystore("mutual", "broker.pem"),
            "listener.name.mutual.ssl.client.auth=required\n".to_owned(),
            keystore("expired", "expired.pem"),
            keystore("elsewhere", "elsewhere.pem"),
            keystore("secured", "broker.pem"),
            keystore("plain_only", "broker.pem"),
            keystore("tokens", "broker.pem"),
            format!(
                "listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.tokens.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.tokens.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.tokens.oauthbearer.connections.max.reauth.ms=3600000
sasl.oauthbearer.jwks.endpoint.url={}
sasl.oauthbearer.expected.audience=kafka
sasl.oauthbearer.expected.issuer=tests
",
                issuer.url("jwks")
            ),
            format!(
                "listener.name.secured.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
listener.name.plain_only.sasl.enabled.mechanisms=PLAIN
listener.name.plain_only.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
listener.name.secured.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"
            ),
        ]
        .concat();
        let scram = |mechanism: &str, case: &str| {
            ["--add-scram".to_owned(), format!("{mechanism}=[name={},password={PASSWORD}]", user(case))]
        };
        let extras = Extras {
            listeners: vec!["TLS", "MUTUAL", "EXPIRED", "ELSEWHERE", "SECURED", "PLAIN_ONLY", "TOKENS"],
            properties,
            format: [scram("SCRAM-SHA-256", "scram-256"), scram("SCRAM-SHA-512", "scram-512")].concat(),
            java: vec![format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", issuer.url("jwks"))],
        };
        let cluster = Cluster::with_extras(1, &extras);
        let client = Client::new(&cluster.bootstrap);
        Self { cluster, certificates, issuer, client, scenes: Mutex::default() }
    }

    /// Topics `NAME.in`, `NAME.out` and `NAME.dead`, and a pipeline that comes in by this listener as
    /// nobody yet.
    pub fn scene(&self, name: &str, listener: &str) -> Pipeline {
        for suffix in ["in", "out", "dead"] {
            self.client.create_topic(&format!("{name}.{suffix}"), 2, &[]);
        }
        self.scenes.lock().unwrap().insert(name.to_owned());
        self.pipeline(name, listener)
    }

    /// The same, without the topics.
    pub fn pipeline(&self, name: &str, listener: &str) -> Pipeline {
        Pipeline::new(&self.cluster.listener(listener), name)
            .set("kafka.transactional_id", format!("{name}-0"))
            .set("kafka.tls", json!({ "ca_file": self.certificates.path("ca.pem") }))
    }

    /// As `dead-letters` needs it.
    pub fn allow_reading(&self, principal: &str, topic: &str) {
        grant_to(&self.cluster.bootstrap, principal, Resource::Topic(topic), Operation::Read);
    }

    /// `kafka.sasl` of a client of the issuer; its secret is in the environment.
    pub fn oauth(&self, client: &str) -> serde_json::Value {
        json!({ "mechanism": "OAUTHBEARER", "oauth": {
            "token_url": self.issuer.url("token"), "client_id": client,
            "client_secret": { "env": "CLIENT_SECRET" }, "scope": "kafka",
        } })
    }

    /// Has this scene been given topics?
    pub fn has_topics(&self, name: &str) -> bool {
        self.scenes.lock().unwrap().contains(name)
    }

    /// What docs/SECURITY.md says that a worker needs, but for what `without` says (`see`: of that, to see
    /// it only).
    pub fn grant(&self, principal: &str, name: &str, without: &[&str]) {
        let text = std::fs::read_to_string(here("docs/SECURITY.md")).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("kafka-acls.sh --add"));
        let mut granted = 0;
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, "--add", "--allow-principal", "'User:worker'", "--operation", operation, kind, of] =
                words[..]
            else {
                panic!("{line}");
            };
            let of = of.replace("reviews", name);
            let (resource, what) = match kind {
                "--topic" => (Resource::Topic(&of), of.rsplit('.').next().unwrap()),
                "--group" => (Resource::Group(&of), "group"),
                "--transactional-id" => (Resource::TransactionalId(&of), "id"),
                _ => panic!("{line}"),
            };
            let operation = match operation {
                "Read" => Operation::Read,
                "Write" => Operation::Write,
                _ => panic!("{line}"),
            };
            granted += 1;
            if !without.contains(&what) {
                grant_to(&self.cluster.bootstrap, principal, resource, operation);
            } else if without.contains(&"see") {
                grant_to(&self.cluster.bootstrap, principal, resource, Operation::Describe);
            }
        }
        assert_eq!(granted, 5);
    }
}

/// The user of a case.
pub fn user(case: &str) -> String {
    format!("user-of-{case}")
}

/// `kafka.sasl` of a user.
pub fn sasl(mechanism: &str, case: &str) -> serde_json::Value {
    json!({ "mechanism": mechanism, "username": user(case), "password": { "env": "PASSWORD" } })
}
