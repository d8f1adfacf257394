//! Placeholder until merge.
use rdkafka::ClientConfig;
/// x
pub fn consumer_config(_k: &crate::config::settings::Kafka) -> ClientConfig {
    todo!()
}
/// x
pub fn producer_config(_k: &crate::config::settings::Kafka) -> ClientConfig {
    todo!()
}
