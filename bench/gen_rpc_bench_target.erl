%% SPDX-License-Identifier: Apache-2.0
%% What the benchmarks call on the other side.
-module(gen_rpc_bench_target).

-export([echo/1, size/1]).
-export([reset/0, count/0, await/2]).

-define(COUNTER, ?MODULE).

-spec echo(T) -> T.
echo(Term) ->
    Term.

-spec size(binary()) -> non_neg_integer().
size(Binary) ->
    byte_size(Binary).

%%% Casts are counted here, because only what has arrived counts.

-spec reset() -> ok.
reset() ->
    case persistent_term:get(?COUNTER, none) of
        none -> persistent_term:put(?COUNTER, atomics:new(1, []));
        Counter -> atomics:put(Counter, 1, 0)
    end.

-spec count() -> ok.
count() ->
    atomics:add(persistent_term:get(?COUNTER), 1, 1).

%% Waits until N have arrived: `ok', or how many there are at the end of the time, in ms.
-spec await(non_neg_integer(), non_neg_integer()) -> ok | non_neg_integer().
await(N, Time) ->
    case atomics:get(persistent_term:get(?COUNTER), 1) of
        N -> ok;
        Other when Time =:= 0; Other > N -> Other;
        _ -> timer:sleep(1), await(N, Time - 1)
    end.
