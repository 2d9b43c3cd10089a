//! What receipts and `--json` show.

use byrnie_base::Security;
use byrnie_policy::Evidence;
use byrnie_policy::Strength;
use byrnie_policy::decide;
use insta::assert_snapshot;

use crate::support::GOOD;
use crate::support::dane_host;
use crate::support::domain;
use crate::support::host;

#[test]
fn a_requirement_is_readable_as_json() {
    let mx = dane_host(10, "mx.example.org", &[GOOD]);
    assert_snapshot!(json(&domain(Security::Secure, vec![mx])), @r#"
    {
      "domain": "example.org",
      "verdict": "dane",
      "hosts": [
        {
          "host": "mx.example.org",
          "preference": 10,
          "addresses": [
            "192.0.2.1"
          ],
          "verdict": {
            "use": {
              "tls": {
                "level": "dane",
                "records": [
                  "3 1 1 00000000000000000000000000000000000000000000000000000000000000aa"
                ],
                "reference": [
                  "mx.example.org",
                  "example.org"
                ]
              },
              "require_tls": "not-demanded",
              "sts_observation": "none"
            }
          },
          "reasons": [
            {
              "reason": "tlsa-usable",
              "base": "mx.example.org",
              "records": [
                "3 1 1 00000000000000000000000000000000000000000000000000000000000000aa"
              ]
            }
          ]
        }
      ],
      "reasons": [
        {
          "reason": "mx-answered",
          "security": "secure"
        },
        {
          "reason": "sts-absent"
        }
      ]
    }
    "#);
}

#[test]
fn a_host_that_must_wait_says_so_in_json() {
    let mx = host(10, "mx.example.org", Security::Secure);
    let evidence = Evidence {
        floor: Some(Strength::Dane),
        ..domain(Security::Secure, vec![mx])
    };
    assert_snapshot!(json(&evidence), @r#"
    {
      "domain": "example.org",
      "verdict": "wait",
      "hosts": [
        {
          "host": "mx.example.org",
          "preference": 10,
          "addresses": [
            "192.0.2.1"
          ],
          "verdict": "wait",
          "reasons": [
            {
              "reason": "tlsa-absent",
              "security": "secure"
            },
            {
              "reason": "weaker-than-earlier",
              "earlier": "dane",
              "now": "opportunistic"
            }
          ]
        }
      ],
      "reasons": [
        {
          "reason": "mx-answered",
          "security": "secure"
        },
        {
          "reason": "sts-absent"
        },
        {
          "reason": "earlier-attempt",
          "strength": "dane"
        }
      ]
    }
    "#);
}

/// The decision as JSON.
fn json(evidence: &Evidence) -> String {
    serde_json::to_string_pretty(&decide(evidence)).unwrap()
}
