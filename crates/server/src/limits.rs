//! Every queue, buffer, time limit and size limit of the server in one place, each with its reason and what happens
//! when it is reached. Nothing in the server grows without one of these.

use std::time::Duration;

/// Bytes of one read from a WebSocket. The default of the library (128 KiB a connection) costs twice the CPU and
/// twenty times the memory for messages of 400 bytes.
pub const WS_READ_BUFFER: usize = 4 * 1024;

/// Longest message taken from Twilio; a media message has about 420 bytes. Longer: the socket is closed.
pub const PHONE_MESSAGE_MAX: usize = 64 * 1024;

/// Longest message taken from an agent: its own client accepts 16 MiB, because a piece of speech can be large.
pub const AGENT_MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Messages waiting for Twilio. The playout's lead is three messages and three marks, so this many means that the phone
/// does not read any more: its leg counts as dead.
pub const PHONE_OUTBOX: usize = 256;

/// Messages waiting for the agent: two seconds of 20 ms frames and room for control messages. Full: the agent has
/// stalled and counts as lost.
pub const AGENT_OUTBOX: usize = 160;

/// Bytes the system may hold for an agent before they are sent: two to four seconds of audio, so that [`AGENT_OUTBOX`]
/// means what it says.
pub const AGENT_SEND_BUFFER: u32 = 32 * 1024;

/// Commands from callbacks to a call. Each is a signal that the call ends; one is enough.
pub const CALL_COMMANDS: usize = 16;

/// Pages of the script that are asked for at once. Twilio asks for one at a time; a second one is a repetition, and
/// whoever finds no room asks again.
pub const CALL_PAGES: usize = 4;

/// Listening streams of a scripted call on their way to it; one that finds no room is closed, and asked for again.
pub const CALL_FORKS: usize = 2;

/// Listening streams that a call asks for in all: a line that loses one after the other gets no more, and the visit goes
/// on without its sound.
pub const FORKS_MAX: u32 = 8;

/// How long a listening stream may take to come before it is asked for again.
pub const FORK_WAIT: Duration = Duration::from_secs(10);

/// How long a page may take to be made. Twilio waits for 15 seconds; the patient hears nothing meanwhile.
pub const PAGE_WAIT: Duration = Duration::from_secs(3);

/// Results of the analysis and of transfers on their way back to a call.
pub const CALL_ANSWERS: usize = 32;

/// How often a call hands its audio to the recorder and to the analysis. A killed process loses at most this and the
/// time of one write.
pub const AUDIO_BATCH: Duration = Duration::from_millis(250);

/// Batches waiting for a recorder or an analysis thread, over all calls of that thread. Full: the call keeps its batch
/// and tries again.
pub const AUDIO_QUEUE: usize = 4_096;

/// Frames (phone and agent together) that a call keeps while the recorder is behind: about a minute. Beyond that the
/// oldest are dropped and counted.
pub const AUDIO_BACKLOG: usize = 6_000;

/// Timeline entries on their way from a call to the store, and how many a call keeps while the store is behind. Beyond
/// that entries are dropped and counted; a call has a few hundred.
pub const JOURNAL_QUEUE: usize = 1_024;
/// See [`JOURNAL_QUEUE`].
pub const JOURNAL_BACKLOG: usize = 8_192;
/// Entries written in one transaction.
pub const JOURNAL_BATCH: usize = 256;

/// How often the lag of the machine is measured, and over how many measurements: the last five seconds.
pub const LAG_EVERY: Duration = Duration::from_millis(50);
/// See [`LAG_EVERY`].
pub const LAG_WINDOW: usize = 100;
/// From this lag on voices are analysed after their calls, which keeps media on time.
pub const LAG_SHED: Duration = Duration::from_millis(60);
/// From this lag on no new calls are taken: beyond the lead of the playout ([`call::CallConfig`]) patients hear gaps.
pub const LAG_FULL: Duration = Duration::from_millis(200);

/// Calls whose voice is to be analysed from the recording, one after the other. Full: the voice of a further one is not
/// analysed, which is logged and counted; its recording is there.
pub const ANALYSE_LATER: usize = 1_000;
/// How long such an analysis waits, at most, for the machine to have less to do, and between two looks.
pub const ANALYSE_LATER_WAIT: Duration = Duration::from_secs(900);
/// See [`ANALYSE_LATER_WAIT`].
pub const ANALYSE_LATER_LOOK: Duration = Duration::from_millis(250);

/// Calls at once. Full: callers hear an apology and are asked to call again.
pub const CALLS_MAX: usize = 1_000;

/// Calls that we make at once. Twilio gives an account that was not checked a handful, one that was as many as it wants;
/// patients who call by themselves must find free lines. Full: due calls wait, the oldest first.
pub const OUTGOING_CALLS: usize = 20;

/// Calls that we begin in a second. Twilio starts one per second and account unless it was told otherwise.
pub const OUTGOING_PER_SECOND: u32 = 1;

/// Between two beats of a server. It counts as lost after [`store::SERVER_LEASE_US`].
pub const BEAT: Duration = Duration::from_secs(1);

/// After so many beats a server looks for what lost ones left behind, and for calls of its own that stayed open.
pub const TAKE_OVER_BEATS: u64 = 5;

/// After so many beats it also looks for messages after calls that nobody works in.
pub const POST_CALL_BEATS: u64 = 30;

/// A message after a call that was not worked in for so long is in nobody's hands any more.
pub const POST_CALL_ABANDONED: Duration = Duration::from_secs(60);

/// Requests about outgoing calls on their way to Twilio. Full: nothing new is asked until one is answered.
pub const OUTGOING_REQUESTS: usize = 32;

/// Between two looks for calls that another process (a command) asked for.
pub const OUTGOING_LOOK: Duration = Duration::from_secs(2);

/// Between two attempts to use a store that does not answer.
pub const OUTGOING_STORE_WAIT: Duration = Duration::from_secs(5);

/// How long a shutdown waits for requests about outgoing calls: longer than a request may take.
pub const FINISH_REQUESTS_WAIT: Duration = Duration::from_secs(12);

/// How long Twilio may take to ask what to do with a call whose stream we closed, before we tell it by ourselves.
pub const NEXT_STEP_WAIT: Duration = Duration::from_secs(2);

/// Before each attempt to tell it. Twilio answers 429 or 500 for a moment now and then.
pub const REDIRECT_RETRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Body of a webhook; Twilio's forms have about 2 kB.
pub const WEBHOOK_BODY_MAX: usize = 64 * 1024;

/// Post-call messages being received at once, each of which may hold 2 MB. Full: the service is asked to come again.
pub const POST_CALLS: usize = 32;

/// How long a post-call message may take to arrive; one with a recording has 25 MB.
pub const POST_CALL_READ: Duration = Duration::from_secs(45);

/// How long the store may take to keep it before the service is asked to come again.
pub const POST_CALL_STORE: Duration = Duration::from_secs(5);

/// How long a connection may go without an answer of ours, be it idle or sending a request very slowly. Far longer than
/// any request takes. Sockets of calls are exempt.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// Connections at once: two for each possible call, and as many again for everybody else. Full: new ones are closed
/// unread.
pub const CONNECTIONS: usize = 4_096;

/// TLS handshakes at once, those included that only say nothing. Full: new connections are closed.
pub const HANDSHAKES: usize = 1_024;

/// How long a TLS handshake may take.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// How long the head of a request may take to arrive, from its first byte or from the last answer.
pub const HEAD_WAIT: Duration = Duration::from_secs(20);

/// Largest head of a request. Larger: refused with 431 and closed.
pub const HEAD_MAX: usize = 32 * 1024;

/// Bytes that a connection may have read or written ahead.
pub const HTTP_BUFFER: usize = 64 * 1024;

/// Longest address in a request, query included; ours have less than 1 kB. Longer: refused with 414.
pub const URI_MAX: usize = 8 * 1024;

/// Header lines in a request; browsers send about 20, proxies add some. More: refused with 431.
pub const HEADERS_MAX: usize = 64;

/// Between two looks whether the TLS certificate was renewed.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(60);

/// Bytes read of a certificate or key file; a long chain has 10 kB.
pub const CERTIFICATE_MAX: u64 = 1024 * 1024;

/// How long a ticket is good for. Twilio opens the stream within a second.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);

/// Tickets remembered, used or not. Full: the oldest is forgotten, and its stream will be refused.
pub const TICKETS: usize = 8_192;

/// How long a new media socket may take to send its `start`.
pub const START_WAIT: Duration = Duration::from_secs(10);

/// Media sockets that have not shown a ticket yet. Full: further ones are refused.
pub const ANONYMOUS_SOCKETS: usize = 256;

/// One attempt to reach an agent: the signed URL and the socket.
pub const AGENT_CONNECT: Duration = Duration::from_secs(5);

/// Between two pings on each leg of a call, which measure its round trip.
pub const PING_EVERY: Duration = Duration::from_secs(5);

/// Closing a socket politely.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What is left of a call after its end has this long, part by part: its recording, its analysis, its timeline, its
/// assessment, and the note that it is over. A part that takes longer is completed in the background, for
/// [`STORE_PATIENCE`] where it waits for the store, or reported as incomplete.
pub const RECORDING_WAIT: Duration = Duration::from_secs(10);
/// See [`RECORDING_WAIT`].
pub const ANALYSIS_WAIT: Duration = Duration::from_secs(20);
/// See [`RECORDING_WAIT`].
pub const JOURNAL_WAIT: Duration = Duration::from_secs(10);
/// See [`RECORDING_WAIT`].
pub const ASSESSMENT_WAIT: Duration = Duration::from_secs(10);
/// See [`RECORDING_WAIT`].
pub const CLOSE_CALL_WAIT: Duration = Duration::from_secs(25);

/// Ended calls whose end the store did not take, kept to be written later. Full: the oldest is forgotten, and marked as
/// interrupted instead.
pub const UNCLOSED_CALLS: usize = 4_096;

/// A call of ours that began so long ago, is in progress in the store and is carried by nobody is closed. Longer than the
/// store's note of a new call and the taking up of that call can lie apart.
pub const LEFT_OPEN_AFTER: Duration = Duration::from_secs(60);

/// How long the answer to a call that is not taken waits for the note of it in the store.
pub const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How long results of an analysis that lags behind are still taken, after the call itself was closed.
pub const ANALYSIS_PATIENCE: Duration = Duration::from_secs(300);

/// One step of the analysis may take this long (the end of a long segment does all of its work) before its thread counts
/// as stuck.
pub const ANALYSIS_STUCK: Duration = Duration::from_secs(120);

/// All of that together: how long a shutdown waits for the last calls.
pub const FINISH_WAIT: Duration = Duration::from_secs(75);

/// How long the verdict of an answering-machine detection waits for the conversation's own.
pub const SECOND_OPINION_WAIT: Duration = Duration::from_millis(500);

/// How long the nurse line rings, in seconds.
pub const NURSE_RINGS_S: u32 = 20;

/// How long a shutdown waits for the word on a nurse line that is being called: until it has rung, and what is said
/// before, and the way of the word to us.
pub const NURSE_WAIT: Duration = Duration::from_secs(NURSE_RINGS_S as u64 + 15);

/// Between attempts to write something to the store that did not take it; the last one is repeated.
pub const STORE_RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// How long what belongs to a call (timeline entries, its visit, its alerts) waits for a store that does not take it.
/// Beyond that it is dropped and counted.
pub const STORE_PATIENCE: Duration = Duration::from_secs(300);

/// How long that somebody has to be told waits for a store that does not take it, as long as this process runs: an
/// outage of a night. One small task for each alert, of which a call has few.
pub const ALERT_PATIENCE: Duration = Duration::from_secs(12 * 3600);

/// How long the database is tried for what belongs to a call before that goes into the spool.
pub const SPOOL_AFTER: Duration = Duration::from_secs(2);

/// How long one attempt at that may take; a database that says nothing is as good as none.
pub const SPOOL_ANSWER: Duration = Duration::from_secs(4);

/// What the spool may take, in all and of one call: a call of half an hour has less than 1 MiB of entries, so this is an
/// outage with a thousand calls at once. Full: the database is waited for as without a spool, and then entries are dropped
/// and counted.
pub const SPOOL: store::SpoolLimits =
    store::SpoolLimits { total_bytes: 1024 * 1024 * 1024, call_bytes: 64 * 1024 * 1024 };

/// How often a file of the spool is read again at once because more came while it was given away.
pub const SPOOL_LOOKS: u32 = 8;

/// How long an announced call waits for the database before the caller hears that they will be called back. Twilio waits
/// fifteen seconds for the answer.
pub const ANNOUNCE_STORE: Duration = Duration::from_secs(5);

/// Callers whom we turned away and whose call-back is being arranged at this moment. Full: the number is not kept, and
/// the caller has been asked to call again.
pub const TURNED_AWAY: usize = 256;

/// How long a call-back may be placed after it is due, in minutes: room for its attempts.
pub const CALL_BACK_STANDS_MIN: u32 = 120;

/// How old a call may be, at most, for its patient to be contacted about it: a server that stood still for days must not
/// telephone about what nobody remembers.
pub const CALL_BACK_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Calls of lost processes whose paperwork is done in one go, and calls remembered as done with; more are found by the
/// next look.
pub const PAPERWORK: usize = 10_000;

/// After so many beats a server looks for paperwork that lost processes left, and for patients whom nobody contacted.
pub const PAPERWORK_BEATS: u64 = 30;

/// A call that broke off and ended so long ago is made up for by whoever looks: its own process had the time to.
pub const CONTACT_LEFT_AFTER: Duration = Duration::from_secs(60);

/// How long a call that was talked in may be without a visit before its patient is contacted without one. The visit waits
/// in a spool, and says whether everything was asked.
pub const VISIT_AWAITED: Duration = Duration::from_secs(3_600);

/// Where Twilio does not say whether a call is over, it is so long after the longest duration of a call. Beyond that
/// Twilio itself cuts calls of ours two minutes later; the rest is for clocks that differ.
pub const CALL_OVER_GRACE: Duration = Duration::from_secs(300);

/// Between two looks for recordings that are still to be brought to the object store. An ended call does not wait for it
/// unless uploads fail.
pub const UPLOAD_EVERY: Duration = Duration::from_secs(120);

/// Between attempts to complete a recording on a disk that does not take it.
pub const RECORDING_RETRIES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Outcomes remembered for Twilio's question what to do after the stream.
pub const RECENT_CALLS: usize = 4_096;

/// Between two signatures of the audit trail: entries younger than this can be cut off without trace by somebody who can
/// write everywhere, so it is short.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Between two checks of the services behind `/health`, and how long one check may take.
pub const HEALTH_EVERY: Duration = Duration::from_secs(15);
/// See [`HEALTH_EVERY`].
pub const HEALTH_WAIT: Duration = Duration::from_secs(4);

/// How long live calls may go on after a request to stop.
pub const DRAIN_WAIT: Duration = Duration::from_secs(600);

/// Messages to staff being sent at once, per channel. More wait; the most urgent go first.
pub const ALERT_MESSAGES_AT_ONCE: usize = 8;

/// One attempt to send a message to staff, whatever the channel.
pub const ALERT_ATTEMPT: Duration = Duration::from_secs(15);

/// How long a message counts as being sent. Longer than any attempt: whoever finds it older knows that its sender died.
pub const ALERT_LEASE: Duration = Duration::from_secs(60);

/// Attempts to send one message. With waits of 2, 6, 18, 54 and 162 s the last one is after four minutes; the contacts
/// further up are told meanwhile.
pub const ALERT_ATTEMPTS: u32 = 6;

/// How long the database is tried for a critical alert before staff is told without it, and how long one attempt may take.
pub const TELL_AFTER: Duration = Duration::from_secs(2);
/// See [`TELL_AFTER`].
pub const TELL_ANSWER: Duration = Duration::from_secs(4);
/// Critical alerts that staff was told of and that are not stored yet. Full: the oldest may be told twice.
pub const TOLD_BEFORE: usize = 1_024;

/// Between two looks for alerts that are due, at most. A raised alert does not wait for it; an acknowledgement on the
/// command line is a change of which nobody tells us.
pub const ALERT_POLL: Duration = Duration::from_secs(5);

/// Alerts looked at in one transaction.
pub const ALERT_BATCH: u32 = 200;

/// Body of a form of the pages for signing in; a password is the longest thing in one.
pub const FORM_BODY_MAX: usize = 8 * 1024;

/// Body of a request to the programming interface; a note on an alert is the longest thing in one.
pub const API_BODY_MAX: usize = 16 * 1024;

/// Longest answer of the programming interface that is kept to be given again.
pub const API_ANSWER_MAX: usize = 1024 * 1024;

/// How long the body of a request to the programming interface may take to arrive: what it does begins only then.
pub const API_BODY_WAIT: Duration = Duration::from_secs(10);

/// How long a request to the programming interface may work inside its access, which on SQLite keeps all other writers
/// waiting. Far below the time after which a repeated request counts as given up.
pub const API_WORK: Duration = Duration::from_secs(10);

/// Requests of one caller to the programming interface in a minute, and at once. More: refused with 429.
pub const API_REQUESTS_PER_MINUTE: u32 = 600;
/// See [`API_REQUESTS_PER_MINUTE`].
pub const API_REQUESTS_AT_ONCE: u32 = 200;
/// Callers whose pace is remembered. Full: whoever has been quiet longest is forgotten.
pub const API_CALLERS: usize = 10_000;

/// Entries of the audit trail about refused strangers in a minute, for one network address and for all. More are counted.
pub const REFUSALS_OF_ADDRESS: u32 = 60;
/// See [`REFUSALS_OF_ADDRESS`].
pub const REFUSALS: u32 = 600;

/// Exports and verifications of the audit trail at once. Full: further ones are told to come again.
pub const API_EXPORTS: usize = 2;

/// Of these, those of one caller.
pub const API_EXPORTS_OF_ONE: usize = 1;
/// Patients of an export for research. More: use the command line.
pub const EXPORT_PATIENTS: usize = 2_000;
/// Calls of one patient in an export; the oldest are left out of it beyond that.
pub const EXPORT_CALLS: usize = 5_000;

/// Recordings being played at once, each of which takes 16 kB a second of the call. Full: further ones are told to come
/// again.
pub const API_RECORDINGS: usize = 8;

/// Of these, those of one caller.
pub const API_RECORDINGS_OF_ONE: usize = 4;

/// Clients that follow live calls at once. Full: further ones are told to come again.
pub const LIVE_CLIENTS: usize = 64;

/// Of these, those of one caller.
pub const LIVE_CLIENTS_OF_ONE: usize = 8;

/// Between two looks for live calls, for a client that follows them.
pub const LIVE_LOOK: Duration = Duration::from_secs(1);

/// Between two signs of life to a client that follows live calls, when nothing happens. Far below
/// [`IDLE_CONNECTION`].
pub const LIVE_HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client may follow live calls before it has to ask again, and so to show again that it may.
pub const LIVE_LONGEST: Duration = Duration::from_secs(15 * 60);
