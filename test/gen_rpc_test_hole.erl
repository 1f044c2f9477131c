%% SPDX-License-Identifier: Apache-2.0
%% Black holes on loopback: something to connect to that never answers.
-module(gen_rpc_test_hole).

-export([silent/0, silent/1, deep/0, close/1]).

-type t() :: [gen_tcp:socket()].
-export_type([t/0]).

%% How long the kernel must not answer until it is known that it takes no more, ms.
-define(FULL, 200).

%% The kernel connects, and nobody says a word.
-spec silent() -> {t(), inet:port_number()}.
silent() ->
    {Socket, Port} = listen(0, 1000),
    {[Socket], Port}.

%% The same, on that port.
-spec silent(inet:port_number()) -> t().
silent(Port) ->
    {Socket, Port} = listen(Port, 1000),
    [Socket].

%% Not even the kernel answers: the backlog is full.
-spec deep() -> {t(), inet:port_number()}.
deep() ->
    {Socket, Port} = listen(0, 1),
    {[Socket | fill(Port)], Port}.

-spec close(t()) -> ok.
close(Hole) ->
    lists:foreach(fun gen_tcp:close/1, Hole).

listen(Wanted, Backlog) ->
    {ok, Socket} = gen_tcp:listen(Wanted, [{ip, {127, 0, 0, 1}}, {backlog, Backlog},
                                           {active, false}, {reuseaddr, true}]),
    {ok, Port} = inet:port(Socket),
    {Socket, Port}.

fill(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [], ?FULL) of
        {ok, Socket} -> [Socket | fill(Port)];
        {error, timeout} -> []
    end.
