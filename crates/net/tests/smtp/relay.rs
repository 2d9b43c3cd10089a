//! Our client against our server.

use byrnie_net::smtp::client::ChannelSecurity;
use byrnie_policy::RequireTls;
use byrnie_policy::TlsRequirement;
use byrnie_smtp::BodyType;
use byrnie_smtp::Channel;
use byrnie_smtp::Octets;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;

use super::support::Listening;
use super::support::client;
use super::support::host;
use super::support::requirement;
use super::support::transaction;

#[tokio::test]
async fn a_message_goes_over_in_clear_text_where_nothing_is_demanded() {
    let listening = Listening::plain().await;
    let demand = requirement(TlsRequirement::Opportunistic);
    let mut connection = client()
        .connect(&host(), listening.address, &demand)
        .await
        .unwrap();
    assert_eq!(
        connection.channel().security,
        ChannelSecurity::Clear { after: None }
    );
    assert_eq!(
        connection.channel().greeting,
        "220 mx.example.org ESMTP byrnie"
    );
    let message = b"Subject: x\n\n.dot\r\nlast";
    let outcome = connection
        .send(
            transaction(&["b@example.org", "no@example.org"]),
            &message[..],
        )
        .await
        .unwrap();
    let answers: Vec<String> = outcome
        .recipients
        .iter()
        .map(|(recipient, answer)| match answer {
            Ok(reply) => format!("{recipient} ok {reply}"),
            Err(reply) => format!("{recipient} no {reply}"),
        })
        .collect();
    assert_eq!(
        answers,
        [
            "b@example.org ok 250 2.0.0 kept",
            "no@example.org no 550 5.1.1 no such user"
        ]
    );
    assert!(connection.is_reusable());
    connection.quit().await;
    let kept = listening.mailroom.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].octets, b"Subject: x\r\n\r\n.dot\r\nlast\r\n");
    assert_eq!(
        kept[0].envelope.recipients,
        ["b@example.org".parse().unwrap()]
    );
    assert_eq!(
        kept[0].session.protocol(Smtputf8::NotUsed).keyword(),
        "ESMTP"
    );
    assert_eq!(kept[0].content, Octets::Ascii);
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_and_both_sides_know_of_it() {
    for tls in [TlsRequirement::Opportunistic, TlsRequirement::Encrypt] {
        let listening = Listening::with_tls().await;
        let demand = requirement(tls);
        let mut connection = client()
            .connect(&host(), listening.address, &demand)
            .await
            .unwrap();
        assert!(matches!(
            connection.channel().security,
            ChannelSecurity::Tls(_)
        ));
        assert!(connection.is_for(Some(&host()), listening.address, &demand));
        for _ in 0..2 {
            let outcome = connection
                .send(transaction(&["b@example.org"]), &b"x"[..])
                .await
                .unwrap();
            assert_eq!(outcome.reply.to_string(), "250 2.0.0 kept");
        }
        connection.quit().await;
        let kept = listening.mailroom.kept();
        assert_eq!(kept.len(), 2);
        assert_eq!(
            kept[0].session.protocol(Smtputf8::NotUsed).channel,
            Channel::Tls
        );
        let tls = kept[0].session.tls.clone().unwrap();
        assert!(tls.to_string().starts_with("TLS 1.3 TLS_"), "{tls}");
    }
}

#[tokio::test]
async fn every_parameter_of_a_message_arrives() {
    let listening = Listening::with_tls().await;
    let mut demand = requirement(TlsRequirement::Encrypt);
    demand.require_tls = RequireTls::Demanded;
    let mut connection = client()
        .connect(None, listening.address, &demand)
        .await
        .unwrap();
    let mut message = transaction(&["grüße@example.org"]);
    message.body = BodyType::EightBitMime;
    message.smtputf8 = Smtputf8::Used;
    message.tls_demand = TlsDemand::RequireTls;
    connection
        .send(message.clone(), "ä\r\n".as_bytes())
        .await
        .unwrap();
    let kept = listening.mailroom.kept();
    let envelope = &kept[0].envelope;
    assert_eq!(envelope.recipients, message.recipients);
    assert_eq!(envelope.reverse_path, message.reverse_path);
    assert_eq!(
        (envelope.body, envelope.smtputf8, envelope.tls_demand),
        (
            BodyType::EightBitMime,
            Smtputf8::Used,
            TlsDemand::RequireTls
        )
    );
    assert_eq!(kept[0].content, Octets::EightBit);
}

#[tokio::test]
async fn a_big_message_arrives_whole() {
    let listening = Listening::with_tls().await;
    let demand = requirement(TlsRequirement::Encrypt);
    let mut connection = client()
        .connect(&host(), listening.address, &demand)
        .await
        .unwrap();
    let message: String = (0..300_000).map(|n| format!(".line {n}\r\n")).collect();
    let mut big = transaction(&["b@example.org"]);
    big.size = u64::try_from(message.len()).unwrap();
    connection.send(big, message.as_bytes()).await.unwrap();
    let kept = listening.mailroom.kept();
    assert!(kept[0].octets == message.as_bytes());
}

#[tokio::test]
async fn a_message_beyond_what_the_server_takes_is_not_sent() {
    let listening = Listening::plain().await;
    let demand = requirement(TlsRequirement::Opportunistic);
    let mut connection = client()
        .connect(&host(), listening.address, &demand)
        .await
        .unwrap();
    let mut big = transaction(&["b@example.org"]);
    big.size = 1_000_000_000;
    let error = connection.send(big, &b"x"[..]).await.unwrap_err();
    assert_eq!(error.status().to_string(), "5.3.4");
    assert!(connection.is_reusable());
    connection
        .send(transaction(&["b@example.org"]), &b"x"[..])
        .await
        .unwrap();
    assert_eq!(listening.mailroom.kept().len(), 1);
}
