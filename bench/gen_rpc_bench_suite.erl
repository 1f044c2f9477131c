%% SPDX-License-Identifier: Apache-2.0
%% What is measured, on which nodes, and what is aimed at.
-module(gen_rpc_bench_suite).

-export([all/0]).

-type item() :: {Name :: string(), gen_rpc_bench_node:how(), gen_rpc_bench_rows:workload(),
                 targets()}.
-type targets() :: #{{Key :: atom(), gen_rpc_bench_report:other()} =>
                         gen_rpc_bench_report:target()}.
-export_type([item/0, targets/0]).

-define(KB500, 500000).
-define(MB20, 20000000).
-define(MB50, 50000000).

%% More than any row of peers wants.
-define(PEERS, {tcp, 16}).

-spec all() -> [item()].
all() ->
    plain() ++ tls() ++ peers() ++ callbacks().

plain() ->
    [{"calls, 1 caller", tcp, {calls, 1}, #{{p50, erpc} => 1.0}},
     {"calls, 16 callers", tcp, {calls, 16}, #{}},
     {"calls, 256 callers", tcp, {calls, 256}, #{{rate, erpc} => 2.5}},
     {"calls, 2000 callers", tcp, {calls, 2000}, #{{rate, erpc} => 2.0}},
     {"casts, 1 sender", tcp, {casts, 1}, #{{rate, erpc} => 4.0}},
     {"casts, 16 senders", tcp, {casts, 16}, #{{rate, erpc} => 4.0}},
     {"100 at a time, async_call", tcp, {pipelined, async_call}, #{}},
     {"100 at a time, send_request", tcp, {pipelined, send_request}, #{}},
     {"500 kB, 1 caller", tcp, {bulk, 1, ?KB500}, #{}},
     {"500 kB, 16 callers", tcp, {bulk, 16, ?KB500}, #{}},
     {"20 MB, 1 caller", tcp, {bulk, 1, ?MB20}, #{{rate, erpc} => 1.2}},
     {"beside 50 MB", tcp, {beside, {bulk, 1, ?MB50}}, fair(erpc)},
     {"beside 4 x 50 MB", tcp, {beside, {bulk, 4, ?MB50}}, fair(erpc)},
     {"beside 50 MB results", tcp, {beside, {results, 1, ?MB50}}, fair(erpc)},
     {"connections, 200 at once", tcp, {connections, 200}, #{{rate, none} => 1000}},
     {"keys, 1", tcp, {keys, 1}, #{}},
     {"keys, 2", tcp, {keys, 2}, #{}},
     {"keys, 4", tcp, {keys, 4}, #{}},
     {"keys, 8", tcp, {keys, 8}, #{}}]
        ++ long("over 1 ms, ", tcp, loads())
        ++ compress() ++
        [{"stopped peer, 1 GB cast", tcp, stopped, #{{rss, erpc} => {ours, 32}}},
         {"idle connection", tcp, memory, #{}},
         {"limit: frames in C", tcp, frames, #{}},
         {"limit: terms in one VM", tcp, {terms, 256}, #{}}].

tls() ->
    [{"TLS calls, 1 caller", ssl, {calls, 1}, #{}},
     {"TLS calls, 16 callers", ssl, {calls, 16}, #{}},
     {"TLS calls, 256 callers", ssl, {calls, 256}, #{{rate, erpc} => 1.4}},
     {"TLS 500 kB, 1 caller", ssl, {bulk, 1, ?KB500}, #{{rate, limit} => 0.85}},
     {"TLS 500 kB, 16 callers", ssl, {bulk, 16, ?KB500}, #{{rate, limit} => 0.85}},
     {"TLS 20 MB, 1 caller", ssl, {bulk, 1, ?MB20}, #{{rate, limit} => 0.85}},
     {"TLS beside 50 MB", ssl, {beside, {bulk, 1, ?MB50}}, fair(none)},
     {"TLS beside 4 x 50 MB", ssl, {beside, {bulk, 4, ?MB50}}, fair(none)},
     {"TLS beside 50 MB results", ssl, {beside, {results, 1, ?MB50}}, fair(none)},
     {"TLS connections, 200, resumed", ssl, {connections, 200}, #{}}]
        ++ long("TLS over 1 ms, ", ssl, loads()) ++
        [{"TLS connections, 200, full", ssl_full, {connections, 200}, #{}}]
        ++ long("TLS over 1 ms, ", ssl_full, [{"200 full handshakes", {connections, 200}}]) ++
        [{"TLS stopped peer, 1 GB cast", ssl, stopped, #{{rss, none} => 32}},
         {"idle TLS connection", ssl, memory, #{}}].

peers() ->
    [{"peers, 1", ?PEERS, {peers, 1}, #{}},
     {"peers, 2", ?PEERS, {peers, 2}, #{}},
     {"peers, 4", ?PEERS, {peers, 4}, #{}},
     {"peers, 8", ?PEERS, {peers, 8}, #{}},
     {"peers, 16", ?PEERS, {peers, 16}, #{}},
     {"multicall of 16", ?PEERS, {multicall, 16}, #{}}].

callbacks() ->
    [{"callbacks, " ++ Name, {timed, tcp}, {callbacks, Load}, #{{over_1000, none} => 0}}
     || {Name, Load} <- loads()] ++
        [{"TLS callbacks, " ++ Name, {timed, ssl}, {callbacks, Load}, #{{over_1000, none} => 0}}
         || {Name, Load} <- loads()] ++
        [{"limit: arithmetic", {timed, tcp}, arithmetic, #{}},
         {"TLS callbacks, 200 full handshakes", {timed, ssl_full}, {callbacks, {connections, 200}},
          #{{over_1000, none} => 0}}].

fair(Than) ->
    #{{times, Than} => {ours, 5}, {kept, Than} => {ours, 0.8}}.

long(Prefix, How, Loads) ->
    [{Prefix ++ Name, How, {long, Load}, #{{count, erpc} => {ours, 0}, {count, none} => 0}}
     || {Name, Load} <- Loads].

loads() ->
    [{"1 caller", {calls, 1}},
     {"16 callers", {calls, 16}},
     {"256 callers", {calls, 256}},
     {"16 casting", {casts, 16}},
     {"20 MB", {bulk, 1, ?MB20}},
     {"4 x 50 MB", {bulk, 4, ?MB50}},
     {"20 MB results", {results, 1, ?MB20}},
     {"calls beside 50 MB", {beside, {bulk, 1, ?MB50}}},
     {"200 connections", {connections, 200}}].

compress() ->
    [{"messages of 400 B, compress 1", tcp, {compress, {level, 1}, message}, #{}},
     {"messages of 400 B, compress 6", tcp, {compress, {level, 6}, message}, #{}},
     {"messages of 400 B, context", tcp, {compress, {context, 6}, message}, #{}},
     {"20 MB of terms, compress 1", tcp, {compress, {level, 1}, terms}, #{}},
     {"20 MB of terms, compress 6", tcp, {compress, {level, 6}, terms}, #{}},
     {"20 MB of terms, context", tcp, {compress, {context, 6}, terms}, #{}}].
