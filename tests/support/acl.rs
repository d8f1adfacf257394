//! Rights, given and taken: brokers that ask who is there, and the two requests for it, which the
//! client library does not have (CreateAcls and DeleteAcls, version 1, as Kafka's protocol guide
//! has them).

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::proxy::read_frame;

/// The name that the worker gives, and the tests' own clients do not.
pub const USER: &str = "worker";
pub const PASSWORD: &str = "not-much-of-a-secret";

/// Properties of brokers that know users behind the proxy, and give them nothing but what was
/// granted. Who comes the direct way may do everything.
pub const BROKER: &str = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.proxied.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_worker=\"not-much-of-a-secret\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
";

#[derive(Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
}

/// What may be done: the protocol's numbers.
#[derive(Clone, Copy)]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Describe = 8,
}

/// The worker may do everything with this.
pub fn grant(broker: &str, resource: Resource<'_>) {
    grant_to(broker, USER, resource, Operation::All);
}

/// This user may do this with that.
pub fn grant_to(broker: &str, user: &str, resource: Resource<'_>, operation: Operation) {
    let mut request = 1_i32.to_be_bytes().to_vec();
    request.extend(entry(user, resource, operation));
    let answer = ask(broker, 30, &request);
    // Throttle time, how many results, the first one's error.
    assert_eq!(answer[8..10], [0, 0], "CreateAcls: {answer:?}");
}

/// Not any more.
pub fn revoke(broker: &str, resource: Resource<'_>) {
    let mut request = 1_i32.to_be_bytes().to_vec();
    request.extend(entry(USER, resource, Operation::All));
    let answer = ask(broker, 31, &request);
    assert_eq!(answer[8..10], [0, 0], "DeleteAcls: {answer:?}");
}

/// It is allowed to the user from anywhere. As a binding and as a filter it is written alike.
fn entry(user: &str, resource: Resource<'_>, operation: Operation) -> Vec<u8> {
    let (kind, name) = match resource {
        Resource::Topic(name) => (2, name),
        Resource::Group(name) => (3, name),
        Resource::TransactionalId(name) => (5, name),
    };
    let text = |text: &str| [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat();
    let (literal, operation, allow) = (3, operation as u8, 3);
    let user = text(&format!("User:{user}"));
    [vec![kind], text(name), vec![literal], user, text("*"), vec![operation, allow]].concat()
}

/// Sends one request, and gives the answer after its correlation id.
fn ask(broker: &str, api: i16, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (version, correlation) = (1_i16, 1_i32);
    let mut frame = [api.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(correlation.to_be_bytes());
    frame.extend([0, 3]);
    frame.extend(b"acl");
    frame.extend(body);
    stream.write_all(&[&(frame.len() as i32).to_be_bytes(), frame.as_slice()].concat()).unwrap();
    read_frame(&mut stream).unwrap().unwrap().split_off(8)
}
