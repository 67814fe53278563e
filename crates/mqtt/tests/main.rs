//! Tests of the sessions from outside. The index:
//!
//! | module | what it shows |
//! |---|---|
//! | `lossy` | both sides of a session over a wire that slices, loses, repeats and breaks, owners that answer late, out of order or never, either end starting over: 20,000 stories (`TIDEGATE_CASES=1000000` for more) against the model in `model` |
//! | `hostile` | arbitrary bytes, arbitrary packets and damaged streams, in every stage and version: no panic, nothing piles up |
//! | `crash` | a client that is killed and carries on from a log whose end may be lost, on a wire that slices and breaks: 8,000 stories in which exactly once holds both ways |
//! | `promises` | each promise by itself, byte for byte; `restored`: those to an owner that keeps a log; `habits`: what costs itself only |
//! | `model` | the wire and what may be seen on it; `pair`: one side against packets written by hand; `frames`: a packet reader of the tests' own |
//!
//! # That these tests can fail
//!
//! Each of these faults was planted in the sources, alone, and was seen by the test beside it. A `lossy` among them was
//! caught within 4,000 stories.
//!
//! | planted | caught by |
//! |---|---|
//! | DUP forgotten on redelivery | `lossy`, `redelivery_has_dup_the_same_ids_and_the_original_order` |
//! | DUP to a session that was lost | `lossy`, `a_lost_session_is_told_and_republished_without_dup` |
//! | PUBREC forgotten | `lossy`, `every_qos_goes_its_way_in_every_version` |
//! | PUBREC forgotten for a repeated PUBLISH | `lossy`, `a_qos_2_id_received_three_times_is_delivered_once` |
//! | PUBREL not sent again | `lossy`, `a_pubrel_sent_again_comes_to_its_end` |
//! | PUBREL does not free the id | `lossy` |
//! | unknown PUBREL not answered | `lossy`, `an_unknown_pubrel_is_answered_by_pubcomp` |
//! | a repeated PUBREC taken for an unknown one | `a_pubrec_that_comes_before_the_redelivery_counts` |
//! | an early PUBREC taken for an unknown one | `a_pubrec_that_comes_before_the_redelivery_counts` |
//! | completed at PUBREC | `lossy`, `every_qos_goes_its_way_in_every_version` |
//! | completed twice by a repeated PUBACK | `lossy` |
//! | acknowledged without being asked, or on receipt | `lossy`, `acknowledgements_leave_in_the_order_of_receipt` |
//! | acknowledged out of order | `lossy`, `acknowledgements_leave_in_the_order_of_receipt` |
//! | acknowledgements behind DISCONNECT | `nothing_follows_our_goodbye` |
//! | `received_2` not kept over a reconnect | `lossy`, `a_qos_2_id_received_three_times_is_delivered_once` |
//! | `received_2` kept over a lost session | `lossy`, `ids_of_a_session_that_the_broker_forgot_mean_nothing` |
//! | `received_2` of earlier connections counted in the window | `our_receive_maximum_is_enforced` |
//! | QoS 2 repeated before PUBREC delivered again | `lossy`, `a_qos_2_id_received_three_times_is_delivered_once` |
//! | QoS 1 carried over although sent anew | `an_id_of_qos_1_without_dup_is_another_message` |
//! | unacknowledged messages forgotten at a cut | `lossy`, `a_message_whose_owner_still_holds_it_is_not_delivered_again` |
//! | the owner's word forgotten at a cut | `lossy` |
//! | the owner's word overwritten by a spent token | `lossy`, `tokens_that_are_spent_or_stale_do_nothing` |
//! | tokens of a lost session taken for good | `lossy`, `tokens_that_are_spent_or_stale_do_nothing` |
//! | tokens do not follow a redelivery | `lossy`, `a_message_whose_owner_still_holds_it_is_not_delivered_again` |
//! | what was in flight dropped with the session | `lossy`, `a_lost_session_is_told_and_republished_without_dup` |
//! | new messages overtake a redelivery | `a_long_redelivery_waits_for_the_buffer_to_drain` |
//! | packet id 0 handed out; ids found off by one | `lossy`, `packet_ids_go_round_without_zero_and_without_collision` |
//! | packet ids wrap one too late | `packet_ids_go_round_without_zero_and_without_collision` |
//! | receive maximum ignored by `publish`, by redelivery, or one too many | `lossy`, `the_peers_receive_maximum_is_kept` |
//! | PUBREC makes room in the window | `lossy`, `the_peers_receive_maximum_is_kept` |
//! | a window freed by a refusal not used | `a_refusal_makes_room_for_the_rest_of_a_redelivery` |
//! | our receive maximum not enforced | `our_receive_maximum_is_enforced` |
//! | QoS 2 window of 3.x ignored, or never given back | `a_broker_of_3_x_is_sent_at_most_twenty_messages_of_qos_2_at_a_time_and_of_qos_1_as_many_as_configured` |
//! | own window of 3.x ignored | `lossy`, the same |
//! | peer's maximum packet size ignored | `lossy`, `the_peers_maximum_packet_size_is_kept` |
//! | our maximum packet size not enforced | `hostile`, `our_maximum_packet_size_is_enforced` |
//! | aliases outlive the connection | `lossy` |
//! | alias believed known after a packet too large | `lossy`, `topic_aliases_out_save_the_topic` |
//! | alias one too high | `lossy`, `topic_aliases_out_save_the_topic` |
//! | ids of QoS 2 messages taken back not released | `what_was_taken_back_is_neither_sent_nor_completed_and_its_ids_are_freed` |
//! | redelivery above the QoS, or with the retain flag, that a new broker forbids | `a_broker_that_takes_less_gets_less_also_of_a_redelivery` |
//! | silence noticed after two keep-alives | `a_client_pings_and_notices_silence_within_one_and_a_half_keep_alives`, `a_server_notices_silence_within_one_and_a_half_keep_alives` |
//! | the server's keep-alive ignored | `a_client_keeps_the_servers_keep_alive` |
//! | a trickle taken for silence | `a_packet_that_trickles_in_is_a_sign_of_life` |
//! | pings pile up behind a blocked socket | `a_client_that_only_listens_pings_too_and_once_a_keep_alive` |
//! | CONNACK of 3.1.1 taken for a yes to MQTT 5 | `a_broker_that_answers_mqtt_5_in_the_form_of_3_1_1_does_not_speak_it` |
//! | bytes leave before the records they rely on are durable | `crash` |
//! | received ids not restored | `crash`, `what_was_received_before_the_restart_is_acknowledged_and_not_delivered` |
//! | a restored PUBREL not sent | `crash`, `a_restored_session_goes_on_in_the_original_order` |
//! | ids between restored messages not left out | `crash`, `a_restored_session_goes_on_in_the_original_order` |
//! | restored messages that cannot be under way kept, or the wrong ones dropped | `restored_messages_that_cannot_be_under_way_are_finished` |
//! | PUBREC not told to the owner | `crash`, `a_pubrec_tells_once_that_the_peer_has_taken_over` |
//! | an early PUBREC not told to the owner | `a_pubrec_before_its_redelivery_tells_that_the_peer_has_taken_over` |
//! | PUBREL not told to the owner | `crash`, `a_pubrel_tells_that_the_id_is_free` |
//! | PUBREL for what was never acknowledged not told | `a_pubrel_for_a_message_whose_pubrec_never_left_frees_the_id` |
//! | a property written wrongly | `every_publish_property_is_carried_both_ways`, `wills_come_as_they_went` |
#![allow(missing_docs, clippy::unwrap_used)] // both are a test's way

mod crash;
mod frames;
mod habits;
mod hostile;
mod lossy;
mod model;
mod pair;
mod promises;
mod restored;
