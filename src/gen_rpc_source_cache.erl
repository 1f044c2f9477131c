%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Table of what the built-in sources have found out, for as long as it is valid. It belongs to the
%% top supervisor. A node is forgotten when an attempt to connect to it fails.
-module(gen_rpc_source_cache).

-export([new/0, fetch/3, forget/1]).

-define(TABLE, ?MODULE).

-type found() :: {ok, Value :: term(), TimeToLive :: non_neg_integer()} | {error, Reason :: term()}.

-spec new() -> ok.
new() ->
    %% Ordered by node first, so that all of one node are found together.
    ?TABLE = ets:new(?TABLE, [named_table, public, ordered_set, {read_concurrency, true}]),
    ok.

%% What a source knows of a node; if there is nothing valid, what it finds out now. That is kept for
%% its time to live, ms. An error is not kept.
-spec fetch(module(), node(), fun(() -> found())) -> {ok, term()} | {error, term()}.
fetch(Source, Node, FindOut) ->
    case ets:lookup(?TABLE, {Node, Source}) of
        [{_, Value, Until}] ->
            case now_ms() < Until of
                true -> {ok, Value};
                false -> keep(Source, Node, FindOut())
            end;
        [] ->
            keep(Source, Node, FindOut())
    end.

-spec forget(node()) -> ok.
forget(Node) ->
    true = ets:match_delete(?TABLE, {{Node, '_'}, '_', '_'}),
    ok.

keep(_Source, _Node, {error, _} = Error) ->
    Error;
keep(Source, Node, {ok, Value, TimeToLive}) ->
    ok = remove_old(),
    true = ets:insert(?TABLE, {{Node, Source}, Value, now_ms() + TimeToLive}),
    {ok, Value}.

%% Nodes that are never asked for again must not stay for ever. It costs little beside finding out.
remove_old() ->
    _ = ets:select_delete(?TABLE, [{{'_', '_', '$1'}, [{'=<', '$1', now_ms()}], [true]}]),
    ok.

now_ms() -> erlang:monotonic_time(millisecond).
