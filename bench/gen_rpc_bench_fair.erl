%% SPDX-License-Identifier: Apache-2.0
%% What small calls suffer from bulk data on the same connection, and bulk data from small calls.
%% The small calls are those of one caller that pauses for a millisecond before each, alone as
%% beside the bulk, so that it takes no noticeable part of the CPU that the bulk needs. A call that
%% waits long is one sample, however many could have been made in that time.
-module(gen_rpc_bench_fair).

-export([run/4, load/4]).

-type figures() :: #{quiet_p50 | quiet_p99 | p50 | p99 := float(), % us, alone and beside the bulk
                     times := float(), % p99 beside the bulk to that alone
                     alone | rate := float(), % MB a second of the bulk, alone and beside the calls
                     kept := float()}. % its rate beside the calls to that alone

-define(PAYLOAD, 64).

-spec run(gen_rpc_bench_load:via(), node(), gen_rpc_bench_load:bulk(), Ms :: pos_integer()) ->
          figures().
run(Via, Server, Workload, Ms) ->
    Bulk = gen_rpc_bench_load:bulk(Via, Server, Workload),
    {ok, Quiet} = beside(Via, Server, fun() -> timer:sleep(Ms) end),
    %% Alone before and after, because there is less for whoever comes first.
    #{rate := Before} = Bulk(Ms div 2 + 1),
    {#{rate := Rate}, Samples} = beside(Via, Server, fun() -> Bulk(Ms) end),
    #{rate := After} = Bulk(Ms div 2 + 1),
    Alone = (Before + After) / 2,
    QuietP99 = gen_rpc_bench_loop:microseconds(99, Quiet),
    P99 = gen_rpc_bench_loop:microseconds(99, Samples),
    #{quiet_p50 => gen_rpc_bench_loop:microseconds(50, Quiet),
      quiet_p99 => QuietP99,
      p50 => gen_rpc_bench_loop:microseconds(50, Samples),
      p99 => P99,
      times => P99 / QuietP99,
      alone => Alone,
      rate => Rate,
      kept => Rate / Alone}.

%% Both at once, for somebody else to measure.
-spec load(gen_rpc_bench_load:via(), node(), gen_rpc_bench_load:bulk(), Ms :: pos_integer()) -> ok.
load(Via, Server, Workload, Ms) ->
    Bulk = gen_rpc_bench_load:bulk(Via, Server, Workload),
    _ = beside(Via, Server, fun() -> Bulk(Ms) end),
    ok.

beside(Via, Server, During) ->
    Payload = rand:bytes(?PAYLOAD),
    gen_rpc_bench_loop:paced(gen_rpc_bench_load:echo(Via, Server, Payload), Payload, During).
