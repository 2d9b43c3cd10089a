//! One validation as a state machine: answers in, questions or a verdict out.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::ParsedName;
use domain::base::iana::Rcode;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::rdata::Cname;
use domain::rdata::Dname;

use crate::chain::KnownCut;
use crate::explain::Link;
use crate::fault::Fault;
use crate::fault::Rule;
use crate::judge::Judged;
use crate::limits::Bound;
use crate::limits::Work;
use crate::message::Question;
use crate::message::RecordSet;
use crate::message::Response;
use crate::message::SignedSet;
use crate::name;
use crate::nsec;
use crate::validator::Shared;
use crate::verdict::Failure;
use crate::verdict::Hop;
use crate::verdict::Kind;
use crate::verdict::Status;
use crate::verdict::Verdict;
use crate::walk;

/// What a validation wants next.
#[derive(Debug)]
pub enum Step {
    /// Answers to these questions, beside those to questions that are still open.
    ///
    /// It is empty while all that is needed has been asked for already. Answers can be handed over
    /// in any order and one at a time; some questions are asked ahead of need.
    NeedsMore(Vec<Question>),
    /// Nothing; here is the verdict.
    Done(Box<Verdict>),
}

/// The validation of the answer to one question.
///
/// Create it with [`Validator::start`](crate::Validator::start). Then call [`handle_answer`](Self::handle_answer)
/// or [`handle_failure`](Self::handle_failure) once for each question it asked, until it is done.
/// It never asks the same question twice.
///
/// Internally each step is computed from the answers at hand; where one is missing, the step stops
/// with the question, and is computed again when the answer has come. Proven keys and finished steps
/// are remembered, so that hardly a signature is checked twice for that reason.
#[derive(Debug)]
pub struct Validation {
    // What does not change.
    pub(crate) shared: Arc<Shared>,
    question: Question,
    // What was asked and answered.
    asked: HashSet<Question>,
    pub(crate) answers: HashMap<Question, Result<Arc<Response>, Failure>>,
    // What is proven so far.
    pub(crate) cuts: HashMap<Name<Bytes>, KnownCut>,
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) work: Work,
    hops: Vec<Hop>,
    /// Until when the records of the steps may be kept.
    expires: UnixTime,
    // Where it is.
    /// The name whose records are wanted now.
    pub(crate) current: Name<Bytes>,
    /// The name whose answer is being read; it may tell of further names.
    source: Name<Bytes>,
}

impl Validation {
    /// Starts to validate.
    pub(crate) fn start(shared: Arc<Shared>, question: Question, now: UnixTime) -> (Self, Step) {
        let mut validation = Self {
            current: question.name.clone(),
            source: question.name.clone(),
            expires: now + shared.limits.ttl_max,
            shared,
            question,
            asked: HashSet::new(),
            answers: HashMap::new(),
            cuts: HashMap::new(),
            links: Vec::new(),
            work: Work::default(),
            hops: Vec::new(),
        };
        let step = validation.advance(now);
        (validation, step)
    }

    /// Takes the raw answer to one of the questions.
    pub fn handle_answer(&mut self, question: &Question, octets: &[u8], now: UnixTime) -> Step {
        let answer = Response::read(question, octets)
            .map(Arc::new)
            .map_err(|why| Failure::BadMessage(question.clone(), why));
        self.take(question, answer, now)
    }

    /// Takes the news that a question got no answer, such as a time-out, and why.
    pub fn handle_failure(&mut self, question: &Question, reason: String, now: UnixTime) -> Step {
        let failure = Failure::Transport(question.clone(), reason);
        self.take(question, Err(failure), now)
    }

    /// Remembers an answer and goes on.
    fn take(
        &mut self,
        question: &Question,
        answer: Result<Arc<Response>, Failure>,
        now: UnixTime,
    ) -> Step {
        // The first answer counts; answers to what was not asked do not.
        if self.asked.contains(question) {
            self.answers.entry(question.clone()).or_insert(answer);
        }
        self.advance(now)
    }

    /// Goes as far as the answers at hand allow.
    fn advance(&mut self, now: UnixTime) -> Step {
        loop {
            let status = match self.follow(now) {
                Ok(Progress::Hop) => continue,
                Ok(Progress::End(end)) => return self.done(end, now),
                Err(Stop::Need(questions)) => match self.ask(questions) {
                    Ok(new) => return Step::NeedsMore(new),
                    Err(failure) => Status::Failed(failure),
                },
                Err(Stop::Bogus(_) | Stop::Failed(_)) if self.source != self.current => {
                    // What an answer tells beyond the name asked about may be incomplete; asking
                    // for that name itself settles it.
                    self.source = self.current.clone();
                    continue;
                }
                Err(Stop::Bogus(fault)) => Status::Bogus(fault),
                Err(Stop::Failed(failure)) => Status::Failed(failure),
            };
            return self.done(End::unusable(status), now);
        }
    }

    /// Notes the questions as asked and returns those that are new.
    fn ask(&mut self, questions: Vec<Question>) -> Result<Vec<Question>, Failure> {
        let new: Vec<Question> = questions
            .into_iter()
            .filter(|question| self.asked.insert(question.clone()))
            .collect();
        if self.asked.len() > self.shared.limits.questions_max {
            return Err(Failure::TooMuchWork(Bound::Questions));
        }
        Ok(new)
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// It is not here yet, and `ahead` should be asked for at the same time; or there is none.
    pub(crate) fn answer(
        &self,
        question: &Question,
        ahead: impl IntoIterator<Item = Question>,
    ) -> Result<Arc<Response>, Stop> {
        match self.answers.get(question) {
            Some(Ok(response)) => Ok(Arc::clone(response)),
            Some(Err(failure)) => Err(Stop::Failed(failure.clone())),
            None => {
                let ahead = ahead
                    .into_iter()
                    .take(self.shared.limits.questions_ahead_max);
                let needed = std::iter::once(question.clone());
                Err(Stop::Need(needed.chain(ahead).collect()))
            }
        }
    }

    /// The answer to a question, if its response code is one of an answer.
    ///
    /// # Errors
    /// As for [`answer`](Self::answer); or the response code is an error.
    pub(crate) fn good_answer(
        &self,
        question: &Question,
        ahead: impl IntoIterator<Item = Question>,
    ) -> Result<Arc<Response>, Stop> {
        let response = self.answer(question, ahead)?;
        if response.rcode == NOERROR || response.rcode == NXDOMAIN {
            Ok(response)
        } else {
            let failure = Failure::Rcode(question.clone(), response.rcode);
            Err(Stop::Failed(failure))
        }
    }

    /// Takes one step: to the end, or over one CNAME or DNAME.
    fn follow(&mut self, now: UnixTime) -> Result<Progress, Stop> {
        let rtype = self.question.rtype;
        if UNSIGNABLE.contains(&rtype) {
            return Err(Stop::Failed(Failure::UnsignableType(rtype)));
        }
        let question = Question::new(self.source.clone(), rtype);
        if !self.answers.contains_key(&question) {
            self.stop_at_broken_zone(rtype, now)?;
            if let Some(judged) = self.judge_by_denials(rtype, now) {
                return Ok(Progress::End(End::absence(Kind::NxDomain, judged)));
            }
        }
        let ahead = self.foreseen(now);
        let response = self.answer(&question, ahead)?;
        let found = response.answer.find(&self.current, rtype);
        // A CNAME made from a DNAME is not signed, but can be made again: RFC 6672, Section 5.3.1.
        if let Some(dname) = self.dname_above(&response)
            && (found.is_none() || rtype == Rtype::CNAME)
        {
            return self.follow_dname(dname, &response, now);
        }
        if found.is_none()
            && let Some(cname) = response.answer.find(&self.current, Rtype::CNAME)
        {
            return self.follow_cname(cname, &response, now);
        }
        // Aliases are followed all the same: the code is about the name that they lead to.
        if response.rcode != NOERROR && response.rcode != NXDOMAIN {
            return Err(Stop::Failed(Failure::Rcode(question, response.rcode)));
        }
        if let Some(found) = found {
            let judged = self.judge_set(found, &response, now)?;
            if rtype == Rtype::CNAME {
                // The code may be about the name that it leads to.
                sole_target(&found.set, cname_targets)?;
            } else if judged.insecure.is_none() && response.rcode == NXDOMAIN {
                return Err(Stop::Bogus(walk::fault(question, Rule::CodeContradicted)));
            }
            return Ok(Progress::End(End::answer(&found.set, judged)));
        }
        let (kind, judged) = self.judge_absence(rtype, &response, now)?;
        Ok(Progress::End(End::absence(kind, judged)))
    }

    /// The DNAME in the answer section that applies to the current name.
    fn dname_above<'a>(&self, response: &'a Response) -> Option<&'a SignedSet> {
        response
            .answer
            .of_type(Rtype::DNAME)
            .find(|signed| name::is_below(&self.current, &signed.set.owner))
    }

    /// Follows a CNAME.
    fn follow_cname(
        &mut self,
        cname: &SignedSet,
        response: &Response,
        now: UnixTime,
    ) -> Result<Progress, Stop> {
        let judged = self.judge_set(cname, response, now)?;
        let target = sole_target(&cname.set, cname_targets)?;
        self.hop(&cname.set, target, judged, response)
    }

    /// Follows a DNAME; a question for a CNAME record ends with the one that follows from it.
    fn follow_dname(
        &mut self,
        dname: &SignedSet,
        response: &Response,
        now: UnixTime,
    ) -> Result<Progress, Stop> {
        let judged = self.judge_set(dname, response, now)?;
        let owner = &dname.set.owner;
        let target = sole_target(&dname.set, dname_targets)?;
        let target = name::substitute(&self.current, owner, &target)
            .ok_or_else(|| Stop::Failed(Failure::NameTooLong(owner.clone())))?;
        if self.question.rtype != Rtype::CNAME {
            return self.hop(&dname.set, target, judged, response);
        }
        // RFC 6672, Section 3.1: it has the TTL of the DNAME.
        let cname = RecordSet {
            owner: self.current.clone(),
            rtype: Rtype::CNAME,
            ttl: dname.set.ttl,
            data: vec![target.into_octets()],
        };
        Ok(Progress::End(End::answer(&cname, judged)))
    }

    /// Notes a step and goes on to its target.
    fn hop(
        &mut self,
        set: &RecordSet,
        target: Name<Bytes>,
        judged: Judged,
        response: &Response,
    ) -> Result<Progress, Stop> {
        self.hops.push(Hop {
            name: self.current.clone(),
            owner: set.owner.clone(),
            rtype: set.rtype,
            target: target.clone(),
            insecure: judged.insecure,
        });
        self.expires = self.expires.min(judged.expires);
        if self.hops.iter().any(|hop| hop.name == target) {
            return Err(self.settled(Failure::CnameLoop(target)));
        }
        if self.hops.len() > self.shared.limits.hops_max {
            return Err(self.settled(Failure::TooMuchWork(Bound::Hops)));
        }
        self.current = target;
        if !self.tells_of_current(response) {
            self.source = self.current.clone();
        }
        Ok(Progress::Hop)
    }

    /// A failure that asking again cannot heal.
    fn settled(&mut self, failure: Failure) -> Stop {
        self.source = self.current.clone();
        Stop::Failed(failure)
    }

    /// Whether an answer goes on with the current name.
    fn tells_of_current(&self, response: &Response) -> bool {
        response
            .answer
            .find(&self.current, self.question.rtype)
            .is_some()
            || response.answer.find(&self.current, Rtype::CNAME).is_some()
            || self.dname_above(response).is_some()
            || response.authority.of_type(Rtype::SOA).next().is_some()
    }

    /// The verdict.
    fn done(&mut self, end: End, now: UnixTime) -> Step {
        let (status, insecure) = match end.judged {
            Ok(judged) => {
                self.expires = self.expires.min(judged.expires);
                let on_the_way = self.hops.iter().find_map(|hop| hop.insecure.clone());
                let status = match on_the_way.or_else(|| judged.insecure.clone()) {
                    None => Status::Secure,
                    Some(why) => Status::Insecure(why),
                };
                (status, judged.insecure)
            }
            Err(status) => {
                self.expires = self.expires.min(now + UNUSABLE_TTL);
                (status, None)
            }
        };
        let ttl = crate::signature::seconds(self.expires.since(now));
        Step::Done(Box::new(Verdict {
            question: self.question.clone(),
            status,
            kind: end.kind,
            ttl,
            end: insecure,
            answer: end.answer.map(|answer| RecordSet {
                ttl: answer.ttl.min(ttl),
                ..answer
            }),
            steps: std::mem::take(&mut self.hops),
            chain: std::mem::take(&mut self.links),
            work: self.work,
        }))
    }
}

/// The one name that a CNAME or DNAME set leads to.
///
//= https://www.rfc-editor.org/rfc/rfc2181#section-10.1
//# There may be only one such canonical name for any one alias.
///
/// and RFC 6672, Section 2.4 has the same for DNAME. Which of several to follow is nobody's promise,
/// not even where all are signed, so none is.
fn sole_target(
    set: &RecordSet,
    targets: fn(&RecordSet) -> Vec<Name<Bytes>>,
) -> Result<Name<Bytes>, Stop> {
    let mut targets = targets(set).into_iter();
    match targets.next() {
        Some(target) if targets.all(|other| other == target) => Ok(target),
        Some(_) | None => {
            let alias = Question::new(set.owner.clone(), set.rtype);
            Err(Stop::Failed(Failure::SeveralTargets(alias)))
        }
    }
}

/// What the records of a CNAME set lead to.
fn cname_targets(set: &RecordSet) -> Vec<Name<Bytes>> {
    set.parsed::<Cname<ParsedName<Bytes>>>()
        .map(|cname| cname.into_cname().flatten_into())
        .collect()
}

/// What the records of a DNAME set lead to.
fn dname_targets(set: &RecordSet) -> Vec<Name<Bytes>> {
    set.parsed::<Dname<ParsedName<Bytes>>>()
        .map(|dname| dname.into_dname().flatten_into())
        .collect()
}

/// Why a step cannot be taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The answer is bogus.
    Bogus(Fault),
    /// There is no answer to judge.
    Failed(Failure),
    /// These questions must be answered first.
    Need(Vec<Question>),
}

/// What a step led to.
enum Progress {
    /// The end.
    End(End),
    /// Another name.
    Hop,
}

/// What stands at the end of the steps.
struct End {
    kind: Kind,
    answer: Option<RecordSet>,
    judged: Result<Judged, Status>,
}

impl End {
    /// Records.
    fn answer(set: &RecordSet, judged: Judged) -> Self {
        Self {
            kind: Kind::Answer,
            answer: Some(set.clone()),
            judged: Ok(judged),
        }
    }

    /// No records.
    const fn absence(kind: Kind, judged: Judged) -> Self {
        Self {
            kind,
            answer: None,
            judged: Ok(judged),
        }
    }

    /// Nothing that may be used.
    const fn unusable(status: Status) -> Self {
        Self {
            kind: Kind::None,
            answer: None,
            judged: Err(status),
        }
    }
}

/// RFC 1035, Section 4.1.1.
pub(crate) const NOERROR: u16 = Rcode::NOERROR.to_int() as u16;

/// RFC 1035, Section 4.1.1.
pub(crate) const NXDOMAIN: u16 = Rcode::NXDOMAIN.to_int() as u16;

/// Types that are no data of a zone, or are not signed: RFC 4035, Section 2.2; RFC 6895, Section 3.1;
/// RFC 9824, Section 2 (NXNAME).
const UNSIGNABLE: [Rtype; 10] = [
    Rtype::OPT,
    Rtype::RRSIG,
    Rtype::TKEY,
    Rtype::TSIG,
    Rtype::IXFR,
    Rtype::AXFR,
    Rtype::MAILB,
    Rtype::MAILA,
    Rtype::ANY,
    nsec::NXNAME,
];

/// How long an unusable answer may be remembered: long enough not to hammer the upstream, short
/// enough that a repaired zone is seen soon (RFC 4035, Section 4.7).
const UNUSABLE_TTL: std::time::Duration = std::time::Duration::from_secs(30);
