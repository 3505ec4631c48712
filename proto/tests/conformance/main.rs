//! The one conformance suite: what [`edge_tunnel_proto::transport`] promises, held against every transport, over real
//! sockets on loopback with real TLS. A check is written once; the macro makes a test of it for each transport.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is a test, and a failure is to be seen where it happens"
)]

mod accepting;
mod closing;
mod cut;
mod ending;
mod flow;
mod harness;
mod limits;
mod opening;
mod payload;
mod strangers;

use std::time::Duration;

/// No check takes so long by itself, not even on a clock that runs ahead; what hangs is reported with its name.
const LIMIT: Duration = Duration::from_secs(200);

macro_rules! conformance {
    ($flavor:literal: $($topic:ident::$check:ident,)*) => {
        conformance!(@quic Quic $flavor: $($topic::$check,)*);
        conformance!(@tls Tls $flavor: $($topic::$check,)*);
    };
    (@$transport:ident $variant:ident $flavor:literal: $($topic:ident::$check:ident,)*) => {
        mod $transport {
            $(
                #[tokio::test(flavor = $flavor)]
                async fn $check() {
                    let check = $crate::$topic::$check(
                        edge_tunnel_proto::transport::Transport::$variant,
                    );
                    // A panic in a task of the check is the check's.
                    if tokio::time::timeout($crate::LIMIT, Box::pin(check)).await.is_err() {
                        panic!("it hangs");
                    }
                }
            )*
        }
    };
}

mod over {
    conformance! {
        "multi_thread":
        accepting::accept_is_cancel_safe,
        accepting::receive_is_cancel_safe,
        accepting::two_acceptors_miss_no_stream,
        payload::exact_bytes_around_every_boundary,
        payload::a_hundred_megabytes_each_way_at_once,
        payload::a_thousand_streams_at_once,
        closing::a_close_is_read_by_the_other_side_with_its_reason,
        closing::a_close_is_read_under_load,
        closing::the_last_handle_closes_even_with_streams_open,
        closing::everything_is_given_back,
        ending::either_side_may_end_first,
        ending::an_abort_gives_its_code_to_whoever_reads,
        ending::an_abort_gives_its_code_to_whoever_only_writes,
        ending::what_came_before_an_abort_is_read_although_writing_fails,
        ending::an_abort_that_nobody_reads_does_not_wait_long,
        ending::a_dropped_stream_is_an_error,
        ending::an_ordered_end_loses_nothing_when_both_sides_drop_at_once,
        ending::what_was_sent_before_finish_arrives,
        flow::a_slow_reader_stalls_nobody_else,
        flow::readers_that_have_stopped_hold_a_bounded_amount,
        flow::readers_that_have_stopped_stall_nobody_where_memory_is_short,
        flow::readers_that_stop_after_a_fast_start_hold_a_bounded_amount,
        flow::a_fast_reader_on_a_long_path_is_fast,
        limits::an_opener_is_told_of_its_limit_and_the_connection_lives,
        limits::at_its_limit_an_opener_may_close_one_and_open_one,
        limits::a_peer_that_ignores_the_limit_hurts_itself_alone,
        limits::without_memory_one_more_is_refused_and_the_connection_lives,
        opening::either_side_opens,
        opening::the_header_is_seen_before_any_data,
        opening::streams_may_be_written_to_in_another_order_than_they_were_opened_in,
        opening::a_refusal_is_always_read,
        opening::what_is_unknown_is_refused,
        opening::opens_that_are_never_answered_do_not_hold_up_others,
        strangers::a_handshake_that_fails_says_why,
    }
}

mod alone {
    conformance! {
        "current_thread":
        cut::a_cut_link_is_an_error_on_every_stream,
        cut::silence_is_no_end,
    }
}
