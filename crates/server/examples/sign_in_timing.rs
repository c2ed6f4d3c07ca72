//! Whether the time of a refused sign-in tells if there is such a user: measured on a real server over real sockets.
//!
//! `cargo run --release -p server --example sign_in_timing -- [ROUNDS]` signs in with a wrong password, in random order as
//! an existing user and as one who does not exist, each name once so that no brake is in the way, and prints both
//! distributions, a Mann-Whitney U test, Welch's t-test, and the same on existing users against existing users, which says
//! how much of a difference chance makes.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, missing_docs)]

use clinic::access::Role;
use secrecy::SecretString;
use server::auth::password::Passwords;
use server::{Server, Settings};
use std::time::Instant;
use store::{MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(400);
    let data = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        database_url: std::env::var("DATABASE_URL")
            .unwrap_or_else(|_| format!("sqlite://{}", data.path().join("timing.db").display())),
        audio_dir: data.path().join("audio"),
    };
    let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
    let hash = Passwords::new().unwrap().hash(&SecretString::from("seven herons over the weir")).await.unwrap();
    // Twice as many as are compared with missing ones: the other half is compared with the first.
    let mut plan: Vec<(usize, String)> = Vec::new();
    for number in 0..rounds {
        for (kind, prefix) in ["known", "other", "nobody"].into_iter().enumerate() {
            let name = format!("{prefix}{number}");
            if kind < 2 {
                let user = store.add_user(&name, Role::Clinician, 1).await.unwrap();
                store.set_password(&user.id, &hash, 1).await.unwrap();
                store.set_totp(&user.id, &[7; 20], 1).await.unwrap();
            }
            plan.push((kind, name));
        }
    }
    shuffle(&mut plan);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings { trusted_proxies: "127.0.0.1".parse().unwrap(), ..Settings::local(address) };
    let server = Server::start_on(listener, settings, store).unwrap();
    let http = reqwest::Client::new();
    let mut took_ms: [Vec<f64>; 3] = Default::default();
    for (number, (kind, name)) in (-20_i64..).zip(plan.iter().take(20).chain(&plan)) {
        // The first twenty warm up what there is to warm up; their names are new.
        let name = if number < 0 { format!("warm{number}") } else { name.clone() };
        let from = format!("10.{}.{}.{}", number.rem_euclid(251), number / 251 % 251, kind);
        let request = http
            .post(format!("http://{address}/sign-in"))
            .header("sec-fetch-site", "same-origin")
            .header("x-forwarded-for", from)
            .form(&[("name", name.as_str()), ("password", "not the right password")]);
        let begin = Instant::now();
        let answer = request.send().await.unwrap();
        let status = answer.status();
        answer.bytes().await.unwrap();
        let elapsed = begin.elapsed().as_secs_f64() * 1e3;
        assert_eq!(status, 401, "{name}");
        if number >= 0 {
            took_ms[*kind].push(elapsed);
        }
    }
    let [known, other, nobody] = took_ms;
    describe("existing user, wrong password", &known);
    describe("missing user", &nobody);
    compare("existing against missing", &known, &nobody);
    compare("existing against other existing (chance)", &known, &other);
    server.shutdown(std::time::Duration::ZERO, async {}).await;
}

fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for place in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(place, (state >> 33) as usize % (place + 1));
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn describe(what: &str, ms: &[f64]) {
    println!(
        "{what}: n {}, mean {:.3} ms, sd {:.3}, least tenth {:.3}, quartiles {:.3} {:.3} {:.3} ms",
        ms.len(),
        mean(ms),
        variance(ms).sqrt(),
        quantile(ms, 0.1),
        quantile(ms, 0.25),
        quantile(ms, 0.5),
        quantile(ms, 0.75)
    );
}

/// Two-sided p-values by the normal approximation, which hundreds of values allow.
fn compare(what: &str, one: &[f64], other: &[f64]) {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|ms| (*ms, true)).chain(other.iter().map(|ms| (*ms, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranks: f64 = (1..).zip(&all).filter(|(_, (_, first))| *first).map(|(rank, _)| f64::from(rank)).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    let t = (mean(one) - mean(other)) / (variance(one) / n + variance(other) / m).sqrt();
    println!(
        "{what}: difference of medians {:+.3} ms, P(longer) {:.3}, Mann-Whitney z {z:+.2} p {:.3}, Welch t {t:+.2} p {:.3}",
        quantile(one, 0.5) - quantile(other, 0.5),
        u / (n * m),
        two_sided(z),
        two_sided(t)
    );
}

/// Chance of a normal value at least so far from zero (Abramowitz and Stegun 7.1.26; good to 1e-7).
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    poly * (-x * x).exp()
}
