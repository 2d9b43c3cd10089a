//! The languages in which other MTAs ask.

use byrnie_net::gather::Destination;

use super::advice::Advice;
use super::exim;
use super::key::Key;
use super::netstring;
use super::netstring::Frame;
use super::postfix::Answer;
use super::postfix::Map;
use super::replies::AnswerResult;
use super::replies::Reply;
use crate::judge::Considered;

/// How requests and answers travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// Netstrings, with the name of a map before each key.
    Socketmap,
    /// A line for each key, and one for each answer.
    Lines,
}

/// What stands at the start of what has come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Incoming<'a> {
    /// A request, and what follows it.
    Request {
        /// Its octets, without what marks its end.
        request: &'a [u8],
        /// What follows.
        rest: &'a [u8],
    },
    /// A part of a request, or nothing.
    Partial,
    /// No request; there is no way to go on behind it.
    Broken(Reply),
}

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// What is known without looking.
    Known(Reply),
    /// A destination, to be answered in this form.
    Destination(Destination, Form),
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// As the map that was asked has it.
    Postfix(Map),
    /// As a line.
    Exim,
}

/// Whether more may come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// It may.
    Open,
    /// The client has said all.
    Ended,
}

impl Protocol {
    /// Looks at the start of what has come in.
    pub(crate) fn incoming(self, buffer: &[u8], ending: Ending) -> Incoming<'_> {
        match self {
            Self::Socketmap => match netstring::frame(buffer) {
                Frame::Whole { payload, rest } => Incoming::Request {
                    request: payload,
                    rest,
                },
                Frame::Partial => Incoming::Partial,
                Frame::Broken(why) => Incoming::Broken(permanent(why.to_string())),
            },
            Self::Lines => line(buffer, ending),
        }
    }

    /// Its name, for those who count.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socketmap => "socketmap",
            Self::Lines => "exim",
        }
    }

    /// What a request asks for.
    pub(crate) fn asked(self, request: &[u8]) -> Asked {
        let (form, key) = match self {
            Self::Socketmap => {
                let mut parts = request.splitn(2, |&octet| octet == b' ');
                let map = parts.next().unwrap_or_default();
                let Some(map) = Map::named(map) else {
                    let known = "the map is called neither postfix nor postfix-tlsrpt";
                    return Asked::Known(permanent(String::from(known)));
                };
                let Some(key) = parts.next() else {
                    let missing = "there is no key behind the name of the map";
                    return Asked::Known(permanent(String::from(missing)));
                };
                (Form::Postfix(map), key)
            }
            Self::Lines => (Form::Exim, request),
        };
        match Key::parse(key) {
            Key::Destination(destination) => Asked::Destination(destination, form),
            Key::Parent | Key::Literal | Key::NotADomain => {
                Asked::Known(form.advice(&Advice::Nothing))
            }
            key @ Key::UnknownPort => Asked::Known(form.unclear(&key.to_string())),
        }
    }
}

impl Form {
    /// The answer that follows from what was found out.
    pub(crate) fn considered(self, considered: &Considered) -> Reply {
        self.advice(&Advice::new(&considered.evidence, &considered.decision))
    }

    /// The answer that makes mail wait until byrnie can say more.
    pub(crate) fn busy(self, why: &str) -> Reply {
        self.advice(&Advice::Wait(String::from(why)))
    }

    /// The answer to a question that somebody has to put in another way.
    fn unclear(self, why: &str) -> Reply {
        match self {
            Self::Postfix(_) => permanent(String::from(why)),
            Self::Exim => self.advice(&Advice::Wait(String::from(why))),
        }
    }

    /// The answer with this advice.
    fn advice(self, advice: &Advice<'_>) -> Reply {
        match self {
            Self::Postfix(map) => Answer::new(advice, map).into(),
            Self::Exim => Reply {
                octets: (exim::line(advice) + "\n").into_bytes().into(),
                result: match advice {
                    Advice::Nothing => AnswerResult::NotFound,
                    Advice::Encrypt | Advice::Dane | Advice::DaneOnly | Advice::Secure(_) => {
                        AnswerResult::Found
                    }
                    Advice::Wait(_) => AnswerResult::Temporary,
                },
            },
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let mut octets = Vec::new();
        netstring::append(&mut octets, answer.payload().as_bytes());
        Self {
            octets: octets.into(),
            result: match answer {
                Answer::Found(_) => AnswerResult::Found,
                Answer::NotFound => AnswerResult::NotFound,
                Answer::Temporary(_) => AnswerResult::Temporary,
                Answer::Permanent(_) => AnswerResult::Permanent,
            },
        }
    }
}

/// The answer to a question of Postfix's that is none.
fn permanent(why: String) -> Reply {
    Answer::Permanent(why).into()
}

/// Looks for the first line. The last one may lack its end: Exim sends none unless it is told to.
fn line(buffer: &[u8], ending: Ending) -> Incoming<'_> {
    let mut parts = buffer.splitn(2, |&octet| octet == b'\n');
    let (line, rest) = match (parts.next().unwrap_or_default(), parts.next()) {
        (line, Some(rest)) => (line, rest),
        (_, None) if buffer.len() > LINE_OCTETS_MAX => {
            return Incoming::Broken(Reply {
                octets: (exim::deferral("the line is too long") + "\n")
                    .into_bytes()
                    .into(),
                result: AnswerResult::Permanent,
            });
        }
        (_, None) => match (ending, buffer) {
            (Ending::Open, _) | (Ending::Ended, []) => return Incoming::Partial,
            (Ending::Ended, [_, ..]) => (buffer, <&[u8]>::default()),
        },
    };
    Incoming::Request {
        request: line.strip_suffix(b"\r").unwrap_or(line),
        rest,
    }
}

/// The longest request in any protocol, with what marks its end.
pub(crate) const REQUEST_OCTETS_MAX: usize = netstring::FRAME_OCTETS_MAX;

/// The longest line: far longer than a name and a port.
const LINE_OCTETS_MAX: usize = 4_096;
