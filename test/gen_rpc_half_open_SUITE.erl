%% SPDX-License-Identifier: Apache-2.0
%% Limits of connections that have not authenticated yet: in all, from one address, and of handshakes
%% that are computed at once. Who holds places without using them loses them to nodes that do.
-module(gen_rpc_half_open_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([nodes_take_the_places_of_the_silent/1, one_address_has_its_own_limit/1,
         one_alone_keeps_its_place/1, authenticated_ones_do_not_count/1,
         burst_of_nodes_passes/1, handshakes_at_once/1, any_sequence_keeps_the_limits/1,
         networks_of_ipv6/1]).

-import(gen_rpc_test_node, [call/4, half_open/1, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2]).
-import(gen_rpc_test_stranger, [connect/1, connect/2, is_closed/1, is_closed_now/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [nodes_take_the_places_of_the_silent, one_address_has_its_own_limit, one_alone_keeps_its_place,
     authenticated_ones_do_not_count, burst_of_nodes_passes, handshakes_at_once,
     any_sequence_keeps_the_limits, networks_of_ipv6].

init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    [{tls, gen_rpc_test_tls:start_pair(Dir)} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%% Silent connections hold all places, and would do so for a minute. A node connects all the same: the
%% oldest one goes for it, with a line in the log.
nodes_take_the_places_of_the_silent(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config, [{max_half_open, 10}]),
    [First | _] = Silent = [connect(Port) || _ <- lists:seq(1, 10)],
    wait(fun() -> half_open(Server) =:= 10 end),
    ?assertEqual(Node, echo(Client, Node)),
    ?assert(is_closed(First)),
    ?assertEqual(9, half_open(Server)),
    ?assertMatch([#{reason := max_half_open, address := "127.0.0.1"}],
                 lines(Server, "peer refused")),
    lists:foreach(fun gen_tcp:close/1, Silent).

%% One address can't take the places of all others: it has its own limit, also when it floods.
one_address_has_its_own_limit(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{max_half_open, 1000}, {max_half_open_per_address, 5}]),
    Silent = [connect({127, 0, 0, 9}, Port) || _ <- lists:seq(1, 50)],
    wait(fun() -> length([S || S <- Silent, is_closed_now(S)]) =:= 45 end),
    ?assertEqual(5, half_open(Server)),
    %% From another address, at once, each with a connection of its own.
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- lists:seq(1, 20)],
    ?assertEqual(5, half_open(Server)),
    Lines = lines(Server, "peer refused"),
    ?assertEqual([{max_half_open_per_address, "127.0.0.9"}],
                 lists:usort([{R, Address} || #{reason := R, address := Address} <- Lines])),
    lists:foreach(fun gen_tcp:close/1, Silent).

%% However many a few addresses bring, one who comes alone keeps its place: it is theirs that go.
one_alone_keeps_its_place(Config) ->
    {_, #{port := Port} = Server} = restart(Config, [{max_half_open, 10}]),
    Alone = connect({127, 0, 0, 9}, Port),
    wait(fun() -> half_open(Server) =:= 1 end),
    Crowd = [connect({127, 0, 0, 10 + I rem 3}, Port) || I <- lists:seq(1, 60)],
    wait(fun() -> length([S || S <- Crowd, is_closed_now(S)]) =:= 51 end),
    ?assertNot(is_closed_now(Alone)),
    Lines = lines(Server, "peer refused"),
    ?assertEqual([max_half_open], lists:usort([Reason || #{reason := Reason} <- Lines])),
    lists:foreach(fun gen_tcp:close/1, [Alone | Crowd]).

%% Places are for those who have not said who they are. A node gives its own back when it has.
authenticated_ones_do_not_count(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{max_half_open, 1}, {max_half_open_per_address, 1}]),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- lists:seq(1, 20)],
    ?assertEqual(20, length(gen_rpc_test_node:acceptors(Server))),
    ?assertEqual(0, half_open(Server)).

%% With the defaults 500 connections of one node at once are nothing special.
burst_of_nodes_passes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Calls = gen_rpc_test_task:start(500, fun(Key) -> echo(Client, {Node, Key}) end),
    ?assertEqual([Node], lists:usort(gen_rpc_test_task:results(Calls))),
    ?assertEqual([], gen_rpc_test_events:ours(Server)).

%% With one thread for handshakes many of them, in both directions at once, wait their turn, and all
%% are done; there are no more threads than that.
handshakes_at_once(Config) ->
    #{client := ClientCert, server := ServerCert} = Tls = proplists:get_value(tls, Config),
    {Client, #{node := Node} = Server} =
        gen_rpc_test_tls:restart(Tls, options(ClientCert), options(ServerCert),
                                 gen_rpc_test_tls:patient(),
                                 [{max_handshakes, 1} | gen_rpc_test_tls:patient()]),
    Threads = threads(Server),
    Calls = gen_rpc_test_task:start(30, fun(Key) -> echo(Client, {Node, Key}) end),
    ?assertEqual([Node], lists:usort(gen_rpc_test_task:results(Calls))),
    ?assertEqual(1, threads(Server) - Threads).

%% Whatever comes and goes, from wherever: there are never more than allowed; nobody is replaced while
%% there is room; who is replaced is the oldest one of the address that has too many, or else of the
%% one that has most, and of two with as many of the one with the older one.
any_sequence_keeps_the_limits(_Config) ->
    ?assert(proper:quickcheck(
              ?FORALL({Limits, Steps}, {limits(), list(step())}, keeps_limits(Limits, Steps)),
              [{numtests, 300}, {to_file, user}])).

limits() ->
    ?LET({All, One}, {range(1, 9), range(1, 6)},
         #{max_half_open => All, max_half_open_per_address => One}).

step() ->
    frequency([{4, {add, range(1, 4)}}, {2, {take, range(1, 30)}}]).

%% Beside it a list of what is in it, oldest first: {Number, Address}.
keeps_limits(Limits, Steps) ->
    {_, _, _, Ok} = lists:foldl(fun(Step, Acc) -> keeps(Limits, Step, Acc) end,
                                {gen_rpc_half_open:new(Limits), [], 0, true}, Steps),
    Ok.

keeps(_Limits, {take, Number}, {H0, In, Last, Ok}) ->
    case {gen_rpc_half_open:take(Number, H0), lists:keytake(Number, 1, In)} of
        {{{about, Number}, H}, {value, _, Rest}} -> {H, Rest, Last, Ok};
        {error, false} -> {H0, In, Last, Ok};
        _ -> {H0, In, Last, false}
    end;
keeps(Limits, {add, Address}, {H0, In, Last, Ok}) ->
    Number = Last + 1,
    Expected = crowded(Limits, [Entry || {_, A} = Entry <- In, A =:= Address], In),
    {H, Gone, Right} =
        case {gen_rpc_half_open:add(Number, {about, Number}, {127, 0, 0, Address}, H0), Expected} of
            {{ok, H1}, none} -> {H1, none, true};
            {{replaces, {O, {about, O}}, L, H1}, {L, [{O, _} | _]}} -> {H1, O, true};
            _ -> {H0, none, false}
        end,
    Left = lists:keydelete(Gone, 1, In) ++ [{Number, Address}],
    Same = lists:sort(gen_rpc_half_open:ports(H)) =:= lists:sort([N || {N, _} <- Left]),
    Crowd = length([A || {_, A} <- Left, A =:= Address]),
    {H, Left, Number, Ok andalso Right andalso Same
     andalso gen_rpc_half_open:count(H) =:= length(Left)
     andalso gen_rpc_half_open:crowd({127, 0, 0, Address}, H) =:= Crowd}.

crowded(#{max_half_open_per_address := One, max_half_open := All}, Mine, In) ->
    if length(Mine) >= One -> {max_half_open_per_address, Mine};
       length(In) >= All -> {max_half_open, most(In)};
       true -> none
    end.

most(In) ->
    Crowds = [[Entry || {_, A} = Entry <- In, A =:= Address]
              || Address <- lists:usort([A || {_, A} <- In])],
    [Most | _] = lists:sort(fun(A, B) -> {-length(A), A} =< {-length(B), B} end, Crowds),
    Most.

%% Of IPv6 a network counts as one address; an IPv4 address is the same in the form of IPv6.
networks_of_ipv6(_Config) ->
    Limits = #{max_half_open => 10, max_half_open_per_address => 1},
    Same = fun(First, Second) ->
                      Empty = gen_rpc_half_open:new(Limits),
                      {ok, H} = gen_rpc_half_open:add(1, about, First, Empty),
                      case gen_rpc_half_open:add(2, about, Second, H) of
                          {replaces, {1, about}, max_half_open_per_address, _} -> true;
                          {ok, _} -> false
                      end
              end,
    ?assert(Same({8193, 3512, 1, 2, 0, 0, 0, 1}, {8193, 3512, 1, 2, 65535, 7, 8, 9})),
    ?assertNot(Same({8193, 3512, 1, 2, 0, 0, 0, 1}, {8193, 3512, 1, 3, 0, 0, 0, 1})),
    ?assert(Same({127, 0, 0, 1}, {0, 0, 0, 0, 0, 65535, 16#7F00, 1})),
    ?assertNot(Same({127, 0, 0, 1}, {0, 0, 0, 0, 0, 65535, 16#7F00, 2})).

%%% Helpers

pair(Config) -> maps:get(pair, proplists:get_value(tls, Config)).

options(Cert) -> gen_rpc_test_certs:options(Cert).

%% Nobody is dropped for another reason, and a refusal is not remembered by the client.
restart(Config, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), [{reconnect_backoff_max, 0}],
                              [{authentication_timeout, ?LONG} | ServerSettings]).

echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).

%% Of the driver, in the node's OS process.
threads(Server) ->
    run(Server, fun() ->
                        length([ok || Comm <- filelib:wildcard("/proc/self/task/*/comm"),
                                      {ok, <<"gen_rpc_pool", _/binary>>} <- [file:read_file(Comm)]])
                end).
