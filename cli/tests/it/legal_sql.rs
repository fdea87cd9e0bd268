//! What people ask every day is answered: the guard is in nobody's way.

use super::lab::{Lab, MAIL};
use store::export::{self, Format};
use store::query::{Limits, Query, Spare, Workers};
use store::search::Models;

/// Each question with its answer as CSV without the header, rows separated by ` / `.
const LEGAL: &[(&str, &str)] = &[
    // counting, filtering, sorting
    ("select count(*) from emails", "4"),
    ("SELECT COUNT(*) AS n FROM Emails;", "4"),
    ("-- how many\nselect count(*) from emails -- all", "4"),
    ("/* how many */ select count(*) from lake.main.emails", "4"),
    ("select subject from emails order by date desc limit 1", "Lunch?"),
    (
        "select subject from emails order by date limit 1 offset 1",
        "Re: Invoice 17",
    ),
    (
        "select distinct from_addr from emails order by 1",
        "anna@example.org / bo@example.org",
    ),
    (
        "select from_addr, count(*) from emails group by from_addr order by 1",
        "anna@example.org,3 / bo@example.org,1",
    ),
    (
        "select from_addr, count(*) as n from emails group by all order by n desc",
        "anna@example.org,3 / bo@example.org,1",
    ),
    (
        "select from_addr from emails group by 1 having count(*) > 1",
        "anna@example.org",
    ),
    ("select count(distinct from_addr) from emails", "2"),
    (
        "select count(*) filter (where subject like 'Re:%') from emails",
        "1",
    ),
    (
        "select sum(case when subject like '%17%' then 1 else 0 end) from emails",
        "2",
    ),
    (
        "select subject from emails where subject ilike 'LUNCH%'",
        "Lunch?",
    ),
    (
        "select subject from emails where subject not like '%17%' order by 1",
        "Holiday / Lunch?",
    ),
    ("select count(*) from emails where from_name is null", "1"),
    ("select count(*) from emails where list_id is not null", "0"),
    (
        "select count(*) from emails where from_addr in ('bo@example.org', 'x')",
        "1",
    ),
    (
        "select count(*) from emails where attachment_count between 0 and 1",
        "4",
    ),
    (
        "select count(*) from emails where not (attachment_count > 0)",
        "4",
    ),
    (
        "select coalesce(from_name, from_addr) from emails order by date limit 1",
        "Anna",
    ),
    (
        "select nullif(subject, 'Lunch?') from emails order by date desc limit 1",
        "\"\"",
    ),
    (
        "select subject is distinct from 'Lunch?' from emails order by date desc limit 1",
        "false",
    ),
    ("select * from emails where false", ""),
    (
        "select min(date), max(date) from emails",
        "2026-09-01T08:00:00Z,2026-11-02T12:00:00Z",
    ),
    (
        "select bool_and(size_bytes > 0), bool_or(size_bytes < 0) from emails",
        "true,false",
    ),
    // joins
    (
        "select a.subject from emails a join emails b on b.message_id = array_element(a.in_reply_to, 1)",
        "Re: Invoice 17",
    ),
    (
        "select count(*) from emails e left join email_attachments using (_item)",
        "4",
    ),
    (
        "select count(*) from emails e left join email_attachments a on a._item = e._item where a._item is null",
        "4",
    ),
    ("select count(*) from emails a cross join emails b", "16"),
    (
        "select count(*) from emails a, emails b where a._item = b._item",
        "4",
    ),
    ("select count(*) from emails natural join locations", "4"),
    (
        "select count(*) from emails a full outer join emails b on a._item = b._item and a.subject = 'Lunch?'",
        "7",
    ),
    (
        "select count(*) from emails where _item in (select _item from raw where size_bytes > 0)",
        "4",
    ),
    (
        "select count(*) from emails e where exists (select 1 from locations l where l._item = e._item)",
        "4",
    ),
    (
        "select count(*) from emails e where not exists (select 1 from rejects r where r._item = e._item)",
        "4",
    ),
    (
        "select subject, (select count(*) from emails b where b.from_addr = a.from_addr) as n from emails a where subject = 'Lunch?'",
        "Lunch?,1",
    ),
    (
        "select subject from emails where size_bytes = (select max(size_bytes) from emails)",
        "Holiday",
    ),
    (
        "select e.subject, l.n from emails e join lateral (select count(*) as n from locations l where l._item = e._item) l on true where e.subject = 'Holiday'",
        "Holiday,1",
    ),
    (
        "select e.subject, b.subject from emails e, lateral (select subject from emails b where b.in_reply_to[1] = e.message_id) b",
        "Invoice 17,Re: Invoice 17",
    ),
    (
        "select count(*) from emails semi_join left semi join raw on raw._item = semi_join._item",
        "4",
    ),
    (
        "select count(*) from emails e left anti join rejects on rejects._item = e._item",
        "4",
    ),
    // sets and common tables
    (
        "with big as (select * from emails where size_bytes > 10) select count(*) from big",
        "4",
    ),
    (
        "with a as (select 1 as x), b as (select x + 1 as y from a) select * from a cross join b",
        "1,2",
    ),
    ("select 1 union all select 1", "1 / 1"),
    ("select 1 as x union select 1", "1"),
    (
        "select from_addr from emails except select 'bo@example.org'",
        "anna@example.org",
    ),
    (
        "select from_addr from emails intersect select 'bo@example.org'",
        "bo@example.org",
    ),
    ("values (1, 'a'), (2, 'b')", "1,a / 2,b"),
    (
        "select * from (values (1, 'a'), (2, 'b')) as t(n, name) where n = 2",
        "2,b",
    ),
    ("select 1", "1"),
    (
        "select 1 as one, 'x' as text, null as nothing, true as yes",
        "1,x,,true",
    ),
    ("select 1 where 1 = 0", ""),
    // windows
    (
        "select subject, row_number() over (order by date) as n from emails order by n limit 1",
        "Invoice 17,1",
    ),
    (
        "select subject from (select subject, row_number() over (partition by from_addr order by date desc) as n from emails) where n = 1 order by 1",
        "Holiday / Lunch?",
    ),
    (
        "select subject from emails qualify row_number() over (partition by from_addr order by date) = 1 order by subject",
        "Invoice 17 / Lunch?",
    ),
    (
        "select rank() over (order by from_addr), dense_rank() over (order by from_addr) from emails order by 1 desc limit 1",
        "4,2",
    ),
    (
        "select lag(subject) over (order by date), lead(subject, 1, 'none') over (order by date) from emails order by date desc limit 1",
        "Holiday,none",
    ),
    (
        "select sum(1) over (order by date rows between unbounded preceding and current row) as running from emails order by running desc limit 1",
        "4",
    ),
    (
        "select first_value(subject) over w, last_value(subject) over w from emails window w as (order by date rows between unbounded preceding and unbounded following) limit 1",
        "Invoice 17,Lunch?",
    ),
    (
        "select ntile(2) over (order by date) as half, nth_value(subject, 2) over (order by date) from emails order by date limit 1",
        "1,",
    ),
    (
        "select round(percent_rank() over (order by date), 2), cume_dist() over (order by date) from emails order by date desc limit 1",
        "1.0,1.0",
    ),
    (
        "select avg(size_bytes) over (partition by from_addr) > 0 from emails limit 1",
        "true",
    ),
    // groups of groups
    (
        "select from_addr, count(*) from emails group by rollup (from_addr) order by 2",
        "bo@example.org,1 / anna@example.org,3 / ,4",
    ),
    (
        "select from_addr, from_name, count(*) from emails group by grouping sets ((from_addr), (from_name)) order by 3 desc limit 1",
        "anna@example.org,,3",
    ),
    (
        "select count(*) from (select 1 from emails group by cube (from_addr, from_name))",
        "7",
    ),
    (
        "select string_agg(subject, ', ' order by date) from emails where from_addr like 'anna%'",
        "\"Invoice 17, Re: Invoice 17, Holiday\"",
    ),
    (
        "select array_agg(subject order by subject) from emails where subject like '%17%'",
        "\"[\"\"Invoice 17\"\",\"\"Re: Invoice 17\"\"]\"",
    ),
    (
        "select median(size_bytes) > 0, stddev(size_bytes) >= 0, var_pop(size_bytes) >= 0 from emails",
        "true,true,true",
    ),
    (
        "select approx_distinct(from_addr), approx_percentile_cont(0.5) within group (order by size_bytes) > 0 from emails",
        "2,true",
    ),
    (
        "select corr(size_bytes, size_bytes) > 0.99, bit_or(1) from emails",
        "true,1",
    ),
    // time
    (
        "select date_trunc('month', date) as month, count(*) from emails group by 1 order by 1",
        "2026-09-01T00:00:00Z,2 / 2026-10-01T00:00:00Z,1 / 2026-11-01T00:00:00Z,1",
    ),
    (
        "select extract(year from date) from emails order by date limit 1",
        "2026",
    ),
    (
        "select date_part('dow', date) from emails order by date limit 1",
        "2",
    ),
    (
        "select date_bin(interval '1 day', date) from emails order by date limit 1",
        "2026-09-01T00:00:00Z",
    ),
    ("select count(*) from emails where date >= '2026-10-01'", "2"),
    (
        "select count(*) from emails where date >= timestamp '2026-10-01' and date < timestamp '2026-10-01' + interval '1 month'",
        "1",
    ),
    (
        "select count(*) from emails where date > now() - interval '100 years'",
        "4",
    ),
    (
        "select count(*) from emails where date < current_date + interval '100 years'",
        "4",
    ),
    (
        "select to_char(date, '%Y-%m') from emails order by date limit 1",
        "2026-09",
    ),
    (
        "select date::date as day from emails order by date limit 1",
        "2026-09-01",
    ),
    (
        "select to_timestamp('2026-01-02T03:04:05Z') = timestamp '2026-01-02 03:04:05'",
        "true",
    ),
    (
        "select date_part('epoch', max(date) - min(date)) / 86400 > 60 from emails",
        "true",
    ),
    (
        "select date at time zone 'Europe/Madrid' is not null from emails limit 1",
        "true",
    ),
    (
        "select make_date(2026, 2, 28), to_unixtime(timestamp '1970-01-02')",
        "2026-02-28,86400",
    ),
    // text
    (
        "select upper('a') || lower('B') || initcap('hello world')",
        "AbHello World",
    ),
    (
        "select concat('a', null, 'b'), concat_ws('-', 'a', 'b')",
        "ab,a-b",
    ),
    (
        "select substr('abcdef', 2, 3), substring('abcdef' from 2 for 2), left('abc', 1), right('abc', 1)",
        "bcd,bc,a,c",
    ),
    (
        "select trim('  a '), ltrim('xxa', 'x'), trim(both 'x' from 'xax')",
        "a,a,a",
    ),
    (
        "select split_part(from_addr, '@', 2) as domain, count(*) from emails group by domain",
        "example.org,4",
    ),
    (
        "select regexp_like('Invoice 17', '[0-9]+'), regexp_replace('a1b2', '[0-9]', '', 'g')",
        "true,ab",
    ),
    (
        "select regexp_match(subject, '([0-9]+)')[1] from emails order by date limit 1",
        "17",
    ),
    (
        "select count(*) from emails where subject ~ '^Re: ' and subject !~* 'holiday'",
        "1",
    ),
    (
        "select regexp_count('banana', 'a'), strpos('banana', 'n'), position('b' in 'banana')",
        "3,3,1",
    ),
    (
        "select length('日本'), octet_length('日本'), reverse('abc'), replace('aXb', 'X', '-')",
        "2,6,cba,a-b",
    ),
    (
        "select starts_with('abc', 'a'), ends_with('abc', 'c'), contains('abc', 'b')",
        "true,true,true",
    ),
    (
        "select levenshtein('kitten', 'sitting'), translate('abc', 'ab', 'xy'), overlay('abcd' placing 'X' from 2 for 1)",
        "3,xyc,aXcd",
    ),
    (
        "select md5('a'), encode(sha256('a'), 'hex') like 'ca97%', to_hex(255)",
        "0cc175b9c0f1b6a831c399e269772661,true,ff",
    ),
    ("select encode('a', 'base64'), chr(65), ascii('A')", "YQ,A,65"),
    (
        "select 'it''s', e'tab\\tend', \"subject\" from emails where subject = 'Lunch?'",
        "it's,tab\tend,Lunch?",
    ),
    // lists, structs, maps
    (
        "select unnest(\"to\") as person, count(*) from emails group by 1 order by 2 desc, 1 limit 1",
        "bo@example.org,2",
    ),
    (
        "select person, count(*) as n from (select unnest(\"to\") as person from emails) group by person order by n desc, person limit 1",
        "bo@example.org,2",
    ),
    (
        "select count(*) from emails where array_has(\"to\", 'carla@example.org')",
        "1",
    ),
    (
        "select array_length(\"to\"), \"to\"[1], array_to_string(\"to\", ';') from emails where subject = 'Holiday'",
        "2,bo@example.org,bo@example.org;carla@example.org",
    ),
    (
        "select [1, 2, 3], make_array(1, 2)[2], array_sort([3, 1, 2]), array_slice([1, 2, 3], 2, 3)",
        "\"[1,2,3]\",2,\"[1,2,3]\",\"[2,3]\"",
    ),
    (
        "select array_distinct(['a', 'a']), array_concat([1], [2]), array_position(['a', 'b'], 'b')",
        "\"[\"\"a\"\"]\",\"[1,2]\",2",
    ),
    ("select * from unnest([1, 2]) as t(n)", "1 / 2"),
    (
        "select string_to_array('a,b', ',')[2], cardinality(['a', 'b'])",
        "b,2",
    ),
    (
        "select struct('x' as a, 1 as b)['a'], named_struct('n', 5)['n'], {'k': 'v'}['k']",
        "x,5,v",
    ),
    (
        "select map(['a', 'b'], [1, 2])['b'], map_keys(map(['a'], [1]))",
        "2,\"[\"\"a\"\"]\"",
    ),
    // numbers and casts
    (
        "select 7 / 2, 7 % 2, 7.0 / 2, 2 * 3 + 1, -5, abs(-5)",
        "3,1,3.5,7,-5,5",
    ),
    (
        "select round(2.567, 2), floor(2.5), ceil(2.5), power(2, 10), sqrt(16), trunc(2.9)",
        "2.57,2.0,3.0,1024.0,4.0,2.0",
    ),
    (
        "select cast('12' as int) + 1, '1.5'::double, try_cast('x' as int), cast(1 as varchar)",
        "13,1.5,,1",
    ),
    (
        "select greatest(1, 2, 3), least(1, 2, 3), pi() > 3, random() < 1",
        "3,1,true,true",
    ),
    (
        "select arrow_typeof(date) from emails limit 1",
        "\"Timestamp(µs, \"\"UTC\"\")\"",
    ),
    (
        "select ln(1), log(10, 100), exp(0), signum(-2), gcd(12, 18), factorial(5)",
        "0.0,2.0,1.0,-1.0,6,120",
    ),
    // about the tables
    (
        "select count(*) from information_schema.tables where table_name = 'emails'",
        "1",
    ),
    (
        "select data_type from information_schema.columns where table_name = 'emails' and column_name = 'size_bytes'",
        "Int64",
    ),
    (
        "select count(*) > 0 from (select table_name from information_schema.tables intersect select table_name from information_schema.columns)",
        "true",
    ),
    ("select state from runs", "succeeded"),
    (
        "select e.subject, r.pipeline from emails e join runs r on r.run = e._run where e.subject = 'Lunch?'",
        "Lunch?,mail",
    ),
    (
        "select count(*) from raw where sha256 = encode(digest(bytes, 'sha256'), 'hex')",
        "4",
    ),
    // the past
    ("select count(*) from as_of('emails', NEWEST)", "4"),
    (
        "select a.subject from as_of('emails', NEWEST) a join emails b using (_item) where b.subject = 'Lunch?'",
        "Lunch?",
    ),
    (
        "select change, count(*) from changes('emails', 0) group by change",
        "insert,4",
    ),
    ("select count(*) from changes('emails', NEWEST, NEWEST)", "0"),
    (
        "with c as (select * from changes('emails', 0)) select subject from c where change = 'insert' order by date limit 1",
        "Invoice 17",
    ),
];

/// Those whose answers are the engine's business, as long as they come.
const TOLD: &[&str] = &[
    "show tables",
    "show columns from emails",
    "describe emails",
    "desc emails",
    "describe select subject from emails",
    "explain select * from emails",
    "explain verbose select 1",
    "explain analyze select count(*) from emails",
    "explain format tree select count(*) from emails",
    "explain with a as (select 1) select * from a",
    "select * from emails",
    "select e.* from emails e",
    "select * exclude (body_text) from emails",
    "select * except (body_text) from emails",
    "select * replace (upper(subject) as subject) from emails",
    "select * from runs",
    "select * from raw",
    "select * from locations",
    "select * from git_commits",
    "select * from information_schema.tables",
    "select * from information_schema.columns",
    "select now(), current_date, current_timestamp, uuid()",
    "from emails select subject",
];

const MAILS: [&str; 4] = [
    "Message-ID: <1@x>\r\nFrom: Anna <anna@example.org>\r\nTo: bo@example.org\r\nSubject: Invoice 17\r\nDate: Tue, 1 Sep 2026 08:00:00 +0000\r\n\r\nPlease pay.\r\n",
    "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\nFrom: Anna <anna@example.org>\r\nTo: dora@example.org\r\nSubject: Re: Invoice 17\r\nDate: Wed, 2 Sep 2026 08:00:00 +0000\r\n\r\nPaid.\r\n",
    "Message-ID: <3@x>\r\nFrom: Anna <anna@example.org>\r\nTo: bo@example.org, carla@example.org\r\nSubject: Holiday\r\nDate: Thu, 1 Oct 2026 10:00:00 +0200\r\n\r\nThe sea, the sea, the sea, the sea, the sea!\r\n",
    "Message-ID: <4@x>\r\nFrom: bo@example.org\r\nTo: anna@example.org\r\nSubject: Lunch?\r\nDate: Mon, 2 Nov 2026 12:00:00 +0000\r\n\r\nOne o'clock?\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_sql_is_answered() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &MAILS);
    lab.run();
    let limits = Limits {
        memory_bytes: 256 << 20,
        time: std::time::Duration::from_secs(30),
        threads: 2,
        rows: Some(10_000),
        bytes: Some(16 << 20),
    };
    let dkc = assert_cmd::cargo::cargo_bin!("dkc");
    let workers = Workers::start(dkc, lab.data(), limits, Models::default(), Spare::Always);
    assert!(LEGAL.len() >= 100, "{}", LEGAL.len());
    let newest = lab.snapshot().to_string();
    let mut wrong = Vec::new();
    let questions = LEGAL.iter().map(|(sql, answer)| (*sql, Some(*answer)));
    for (sql, expected) in questions.chain(TOLD.iter().map(|sql| (*sql, None))) {
        let sql = sql.replace("NEWEST", &newest);
        let mut text = Vec::new();
        let said = match workers.run_user_sql(&Query::from(sql.as_str())).await {
            Ok(rows) => export::write_stream(rows, Format::Csv, &mut text)
                .await
                .map_err(|error| format!("{error:?}")),
            Err(error) => Err(error.to_string()),
        };
        let text = String::from_utf8(text).unwrap();
        let answer = text.lines().skip(1).collect::<Vec<_>>().join(" / ");
        match (said, expected) {
            (Err(error), _) => wrong.push(format!("{sql}\n  {error}")),
            (Ok(_), Some(expected)) if answer != expected => {
                wrong.push(format!("{sql}\n  {answer}\n  instead of {expected}"));
            }
            (Ok(written), None) if written.rows == 0 && !sql.contains("git_") => {
                wrong.push(format!("{sql}\n  nothing"))
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
