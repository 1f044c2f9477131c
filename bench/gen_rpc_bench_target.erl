%% SPDX-License-Identifier: Apache-2.0
%% What the benchmarks call on the other side.
-module(gen_rpc_bench_target).

-export([echo/1, size/1, records/1]).
-export([blob/1, keep/1, kept/0]).
-export([reset/0, count/0, count/1, await/2]).

-define(COUNTER, ?MODULE).
-define(BLOB, {?MODULE, blob}).

-spec echo(T) -> T.
echo(Term) ->
    Term.

-spec size(binary()) -> non_neg_integer().
size(Binary) ->
    byte_size(Binary).

%% Enough of them to tell others apart.
-spec records([term()]) -> {non_neg_integer(), Hash :: non_neg_integer()}.
records(Records) ->
    {length(Records), erlang:phash2(lists:last(Records))}.

%%% Large binaries. Making one takes longer than sending it.

-spec blob(pos_integer()) -> binary().
blob(Bytes) ->
    binary:copy(rand:bytes(1000), Bytes div 1000).

-spec keep(Bytes :: pos_integer()) -> ok.
keep(Bytes) ->
    case persistent_term:get(?BLOB, <<>>) of
        Blob when byte_size(Blob) =:= Bytes -> ok;
        _ -> persistent_term:put(?BLOB, blob(Bytes))
    end.

-spec kept() -> binary().
kept() ->
    persistent_term:get(?BLOB).

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

-spec count(Ballast :: binary()) -> ok.
count(_Ballast) ->
    count().

%% Waits until N have arrived: `ok', or how many there are at the end of the time, in ms.
-spec await(non_neg_integer(), non_neg_integer()) -> ok | non_neg_integer().
await(N, Time) ->
    case atomics:get(persistent_term:get(?COUNTER), 1) of
        N -> ok;
        Other when Time =:= 0; Other > N -> Other;
        _ -> timer:sleep(1), await(N, Time - 1)
    end.
