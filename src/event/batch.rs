//! Events inside other events: SNS notifications, SQS messages and the arrays of EventBridge Pipes.
//!
//! A batch is one invocation. Its records are parsed one at a time, so that a large batch costs no more memory
//! than its largest record and what is kept of the others.

use aws_lambda_events::sns::{SnsMessage, SnsRecord};
use aws_lambda_events::sqs::SqsMessage;
use serde_json::value::RawValue;

use super::fields::{Fields, MAX_EVENT_BYTES, fields, for_each_element};
use super::kind::Event;
use super::rds::RdsEvent;
use super::unsupported::{UnsupportedEvent, brief, read, text, too_large, unreadable};

/// How deep an event may lie inside others: a pipe's array, an SQS message, an SNS notification, the event.
const MAX_DEPTH: usize = 4;
/// How many databases the kept events of a batch may name: as many as a function of a thousand bindings watches.
const MAX_DATABASES: usize = 1000;
/// How many records are logged that are no events.
const MAX_LOGGED: usize = 10;

/// The events found so far.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<RdsEvent>,
    /// How many databases these events name.
    databases: usize,
    /// Whether RDS sent an event that is not kept, or a text: the function then checks all bindings.
    needs_check: bool,
    has_schedule: bool,
    records: usize,
    unsupported: usize,
    /// Why the first unsupported record is not an event.
    first: Option<UnsupportedEvent>,
}

impl Batch {
    /// Joins the records into one event. Unsupported records fail the batch only if there is no other record.
    pub fn finish(self) -> Result<Event, UnsupportedEvent> {
        let Self { mut events, needs_check, has_schedule, records, unsupported, first, .. } = self;
        if needs_check {
            events.push(RdsEvent::default());
        }
        if unsupported > 0 {
            tracing::warn!(
                decision = "skip",
                records,
                unsupported,
                "skipping records that are not events for this function"
            );
        }
        match first {
            _ if !events.is_empty() => Ok(Event::Rds(events)),
            _ if has_schedule => Ok(Event::Schedule),
            Some(UnsupportedEvent(reason)) if records > 1 => {
                Err(UnsupportedEvent(format!("none of {records} records is an event; the first: {reason}")))
            }
            Some(unsupported) => Err(unsupported),
            None => Err(UnsupportedEvent("the event holds no records".to_owned())),
        }
    }

    /// Adds the records of a JSON array.
    pub fn add_all(&mut self, array: &str, depth: usize) -> Result<(), UnsupportedEvent> {
        let mut array = serde_json::Deserializer::from_str(array);
        for_each_element(&mut array, |record| self.add(record, depth))
            .map_err(|error| unreadable("records", &error))
    }

    /// Adds a record. Counts and logs it if it is not an event for this function.
    fn add(&mut self, record: &str, depth: usize) {
        self.records += 1;
        let Err(unsupported) = self.add_record(record, depth) else { return };
        self.unsupported += 1;
        if self.unsupported <= MAX_LOGGED {
            let UnsupportedEvent(reason) = &unsupported;
            tracing::warn!(
                decision = "skip",
                reason,
                "skipping a record that is not an event for this function"
            );
        }
        self.first.get_or_insert(unsupported);
    }

    fn add_record(&mut self, record: &str, depth: usize) -> Result<(), UnsupportedEvent> {
        if record.len() > MAX_EVENT_BYTES {
            return Err(too_large(record.len(), MAX_EVENT_BYTES));
        }
        if depth > MAX_DEPTH {
            return Err(UnsupportedEvent("the event lies too deep inside others".to_owned()));
        }
        // A pipe may pass the bodies without their messages, and a body may hold an array or text.
        if record.starts_with('[') {
            return self.add_all(record, depth + 1);
        }
        if let Ok(inner) = serde_json::from_str::<String>(record) {
            return self.add_text(&inner, false, depth + 1);
        }
        let fields = fields(record)?;
        if fields.command.is_some() {
            return Err(UnsupportedEvent("a record cannot be a command".to_owned()));
        }
        if let Some(records) = fields.records.filter(|_| fields.source.is_none()) {
            return self.add_all(records.get(), depth + 1);
        }
        self.add_object(record, &fields, depth)
    }

    /// Adds the event in the body or message of another.
    fn add_text(&mut self, inner: &str, is_of_rds: bool, depth: usize) -> Result<(), UnsupportedEvent> {
        match serde_json::from_str::<&RawValue>(inner) {
            Ok(json) => self.add_record(json.get(), depth),
            // The first message of an RDS event subscription is plain text. It is no error: after an error it would be
            // delivered again. With raw delivery from SNS to SQS it comes without its subject.
            Err(_) if is_of_rds || (inner.contains("RDS") && inner.contains("event notifications")) => {
                tracing::info!(
                    decision = "check",
                    reason = brief(inner),
                    "text from RDS, checking all bindings"
                );
                self.needs_check = true;
                Ok(())
            }
            Err(_) => Err(UnsupportedEvent(format!("the record is not JSON ({})", brief(inner)))),
        }
    }

    /// Adds an event, or those that it carries.
    pub fn add_object(
        &mut self,
        json: &str,
        fields: &Fields<'_>,
        depth: usize,
    ) -> Result<(), UnsupportedEvent> {
        match (fields.source.and_then(text).as_deref(), fields.detail_type.and_then(text).as_deref()) {
            (Some("aws.rds"), _) => self.push(RdsEvent::parse(json)),
            (Some("aws.events" | "aws.scheduler"), Some("Scheduled Event")) => self.has_schedule = true,
            (Some(source), kind) => {
                let kind = kind.unwrap_or("without a detail-type");
                return Err(UnsupportedEvent(format!(
                    "the event from {:?} ({:?}) is not for this function",
                    brief(source),
                    brief(kind)
                )));
            }
            (None, _) => return self.add_wrapper(json, fields, depth),
        }
        Ok(())
    }

    /// Keeps an event that names databases. Many events must not fill the memory: if they name too many databases, the
    /// oldest events go, because a watch is for the latest ones, and the function checks all bindings instead.
    fn push(&mut self, event: RdsEvent) {
        if !(1..=MAX_DATABASES).contains(&event.databases.len()) {
            self.needs_check = true;
            return;
        }
        self.databases += event.databases.len();
        self.events.push(event);
        while self.databases > MAX_DATABASES
            && let Some((oldest, _)) = self.events.iter().enumerate().min_by_key(|(_, event)| event.time)
        {
            self.databases -= self.events.swap_remove(oldest).databases.len();
            self.needs_check = true;
        }
    }

    fn add_wrapper(&mut self, json: &str, fields: &Fields<'_>, depth: usize) -> Result<(), UnsupportedEvent> {
        if fields.sns.is_some() {
            let record: SnsRecord = read(json, "SNS record")?;
            self.add_notification(record.sns, depth)
        } else if fields.topic_arn.is_some() {
            self.add_notification(read(json, "SNS notification")?, depth)
        } else if fields.body.is_some() {
            let message: SqsMessage = read(json, "SQS message")?;
            self.add_text(&message.body.unwrap_or_default(), false, depth + 1)
        } else if fields.event_source.is_some() {
            self.push(RdsEvent::parse_message(json));
            Ok(())
        } else {
            Err(UnsupportedEvent(format!("the event names no source and no command ({})", brief(json))))
        }
    }

    fn add_notification(&mut self, notification: SnsMessage, depth: usize) -> Result<(), UnsupportedEvent> {
        let SnsMessage { subject, message, .. } = notification;
        let is_of_rds = subject.is_some_and(|subject| subject.starts_with("RDS Notification"));
        self.add_text(&message, is_of_rds, depth + 1)
    }
}
