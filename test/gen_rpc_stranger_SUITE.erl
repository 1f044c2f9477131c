%% SPDX-License-Identifier: Apache-2.0
%% Who connects and is no node: silent, slow, babbling, without the cookie, or with it and without
%% manners. None of them costs a process, delays a node, or lasts.
-module(gen_rpc_stranger_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([silent_ones_delay_nobody/1, silent_ones_are_dropped/1, slow_one_is_dropped/1,
         garbage_is_refused_at_once/1, wrong_proof_is_refused/1, names_make_no_atoms/1,
         guest_is_served/1, bad_frames/1, length_over_the_limit/1, same_id_twice/1,
         request_after_goodbye/1, flood_of_pings/1]).

-import(gen_rpc_test_node, [call/4, cookie/1, half_open/1, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).
-import(gen_rpc_test_stranger, [connect/1, hello/2, login/4, log_in/1, log_in/2, frame/3,
                                receive_frame/1, is_closed/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(SILENT, 300).

-define(REQUEST, 1).
-define(CAST, 2).
-define(REPLY, 3).
-define(TOOBIG, 4).
-define(PING, 5).
-define(PONG, 6).
-define(BYE, 7).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, unknown}, {group, with_cookie}].

groups() ->
    [{unknown, [], [silent_ones_delay_nobody, silent_ones_are_dropped, slow_one_is_dropped,
                    garbage_is_refused_at_once, wrong_proof_is_refused]},
     {with_cookie, [], [guest_is_served, names_make_no_atoms, bad_frames, length_over_the_limit,
                        same_id_twice, request_after_goodbye, flood_of_pings]}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

restart(Config, ServerSettings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), [], ServerSettings).

%%% Unknown: not authenticated

%% Three hundred sockets that say nothing have no process, and nodes connect and call beside them.
silent_ones_delay_nobody(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{authentication_timeout, ?LONG}]),
    #{processes := Processes} = gen_rpc_test_node:resources(Server),
    Sockets = [connect(Port) || _ <- lists:seq(1, ?SILENT)],
    wait(fun() -> half_open(Server) =:= ?SILENT end),
    ?assertMatch(#{processes := Processes}, gen_rpc_test_node:resources(Server)),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- lists:seq(1, 50)],
    ?assertEqual(?SILENT, half_open(Server)),
    lists:foreach(fun gen_tcp:close/1, Sockets),
    wait(fun() -> half_open(Server) =:= 0 end),
    ?assertEqual(Node, echo(Client, {Node, 1})).

%% They are dropped after authentication_timeout, and the log does not grow with their number.
silent_ones_are_dropped(Config) ->
    {_, #{port := Port} = Server} = restart(Config, [{authentication_timeout, 500}]),
    Before = gen_rpc_test_node:resources(Server),
    Sockets = [connect(Port) || _ <- lists:seq(1, ?SILENT)],
    ?assertEqual([], [Socket || Socket <- Sockets, not is_closed(Socket)]),
    wait(fun() -> gen_rpc_test_node:resources(Server) =:= Before end),
    Lines = lines(Server, "peer refused"),
    ?assert(length(Lines) < ?SILENT, length(Lines)),
    ?assertEqual([authentication_timeout], lists:usort([Reason || #{reason := Reason} <- Lines])),
    lists:foreach(fun gen_tcp:close/1, Sockets).

%% The time limit is for the whole handshake: a byte now and then does not extend it.
slow_one_is_dropped(Config) ->
    {_, #{node := Node, port := Port} = Server} = restart(Config, [{authentication_timeout, 500}]),
    Hello = hello(<<"slow@host">>, atom_to_binary(Node)),
    Socket = connect(Port),
    ?assert(send_slowly(Socket, Hello, 0) < byte_size(Hello)),
    ?assertMatch([#{reason := authentication_timeout}], lines(Server, "peer refused", 1)).

%% How many bytes were sent until the other side closed; 100 ms for each.
send_slowly(_Socket, <<>>, Sent) ->
    Sent;
send_slowly(Socket, <<Byte, Rest/binary>>, Sent) ->
    case gen_tcp:send(Socket, <<Byte>>) of
        ok ->
            case gen_tcp:recv(Socket, 0, 100) of
                {error, timeout} -> send_slowly(Socket, Rest, Sent + 1);
                {error, _Closed} -> Sent
            end;
        {error, _Closed} ->
            Sent
    end.

%% Whatever is not our protocol ends at its first wrong byte, not at a time limit.
garbage_is_refused_at_once(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{authentication_timeout, ?LONG}]),
    Node = echo(Client, Node),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Socket = connect(Port),
         ok = gen_tcp:send(Socket, Bytes),
         ?assertEqual({Bytes, true}, {Bytes, is_closed(Socket)}),
         wait(fun() -> reasons(Server, "peer refused") =/= [] end),
         ?assertEqual({Bytes, [Reason]}, {Bytes, reasons(Server, "peer refused")}),
         ok = gen_tcp:close(Socket)
     end || {Reason, Bytes} <- garbage(atom_to_binary(Node))],
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(Node, echo(Client, {Node, new})).

garbage(Target) ->
    Hello = hello(<<"babbler@host">>, Target),
    <<Magic:3/binary, Version, Kind, Zero, Size:16, Body/binary>> = Hello,
    Head = fun(Version1, Kind1, Zero1, Size1) ->
                   <<Magic/binary, Version1, Kind1, Zero1, Size1:16>>
           end,
    Fixed = binary:part(Body, 0, 44),
    [{not_gen_rpc, <<"GET / HTTP/1.1\r\n\r\n">>},
     {not_gen_rpc, <<22, 3, 1, 2, 0, 1>>},              % a TLS client hello
     {not_gen_rpc, <<0>>},
     {not_gen_rpc, binary:copy(<<0>>, 10000)},
     {not_gen_rpc, rand:bytes(10000)},
     {not_gen_rpc, <<16#8e, "G", "X">>},
     {protocol_version, <<Magic/binary, 0>>},
     {protocol_error, Head(Version, Kind + 1, Zero, Size)},
     {protocol_error, Head(Version, Kind, 1, Size)},
     {protocol_error, Head(Version, Kind, Zero, 16#FFFF)},
     {protocol_error, Head(Version, Kind, Zero, 0)},
     {protocol_error, <<(Head(Version, Kind, Zero, 44))/binary, Fixed/binary>>},
     {protocol_error, <<(Head(Version, Kind, Zero, 48))/binary, Fixed/binary, 0:16, 0:16>>},
     {protocol_error, <<(Head(Version, Kind, Zero, 50))/binary, Fixed/binary, 200:16, 0:32>>},
     {protocol_error, <<(Head(Version, Kind, Zero, 46 + 1021 + 3))/binary, Fixed/binary,
                        1021:16, (binary:copy(<<"n">>, 1021))/binary, 1:16, "t">>},
     {protocol_error, <<Hello/binary, Hello/binary>>}]. % a proof must follow

%% Who does not know the cookie is told so, and nothing of what it wants happens.
wrong_proof_is_refused(Config) ->
    {_, #{node := Node, port := Port} = Server} = restart(Config, []),
    Target = atom_to_binary(Node),
    Socket = connect(Port),
    ?assertEqual({refused, 1}, login(Socket, <<"a@host">>, Target, <<"guess">>)),
    ?assert(is_closed(Socket)),
    ?assertMatch([#{reason := invalid_cookie}], lines(Server, "peer refused", 1)),
    %% A name that is not the server's is only told to those who know the cookie.
    Other = connect(Port),
    ?assertEqual({refused, 1}, login(Other, <<"a@host">>, <<"other@host">>, <<"guess">>)),
    Third = connect(Port),
    ?assertEqual({refused, 2}, login(Third, <<"a@host">>, <<"other@host">>, cookie(Server))),
    ?assertEqual([], gen_rpc_test_node:acceptors(Server)),
    lists:foreach(fun gen_tcp:close/1, [Socket, Other, Third]).

%%% With the cookie: authenticated, but no node

%% What the protocol allows works for anybody: here for a program of forty lines.
guest_is_served(Config) ->
    {_, #{node := Node} = Server} = restart(Config, []),
    Guest = log_in(Server),
    ok = gen_tcp:send(Guest, [request(7, {erlang, node, []}), frame(?PING, 0, [])]),
    Frames = lists:sort([receive_frame(Guest), receive_frame(Guest)]),
    ?assertMatch([{?REPLY, 7, _}, {?PONG, 0, <<>>}], Frames),
    ?assertEqual({return, Node}, gen_rpc_result:decode(element(3, hd(Frames)))),
    %% A goodbye is answered with another, when all replies are there.
    ok = gen_tcp:send(Guest, [request(8, {timer, sleep, [50]}), frame(?BYE, 0, [])]),
    ?assertMatch({?REPLY, 8, _}, receive_frame(Guest)),
    ?assertEqual({?BYE, 0, <<>>}, receive_frame(Guest)),
    ?assertEqual(closed, receive_frame(Guest)),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertEqual([], gen_rpc_test_events:ours(Server)),
    ok = gen_tcp:close(Guest).

%% The name that a peer gives itself stays a binary: no peer can fill the atom table with it.
names_make_no_atoms(Config) ->
    {_, Server} = restart(Config, []),
    ok = gen_tcp:close(log_in(Server)),
    Atoms = call(Server, erlang, system_info, [atom_count]),
    [begin
         Guest = log_in(Server, <<"name-", (integer_to_binary(I))/binary, "@host">>),
         ok = gen_rpc_test_stranger:reset(Guest)
     end || I <- lists:seq(1, 50)],
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertEqual(Atoms, call(Server, erlang, system_info, [atom_count])).

%% A frame that the protocol does not allow ends its connection, with one line, and no other's.
bad_frames(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, Node),
    {ok, Port} = call(Client, gen_rpc_registry, lookup, [Node]),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Guest = log_in(Server),
         ok = gen_tcp:send(Guest, Bytes),
         ?assertEqual({Bytes, true}, {Bytes, is_closed(Guest)}),
         wait(fun() -> reasons(Server, "incoming connection lost") =/= [] end),
         ?assertEqual({Bytes, [protocol_error]},
                      {Bytes, reasons(Server, "incoming connection lost")}),
         ok = gen_tcp:close(Guest)
     end || Bytes <- [frame(0, 0, []), frame(8, 0, []), frame(255, 1, <<"body">>),
                      frame(?REPLY, 1, []), frame(?TOOBIG, 1, <<0:128>>),
                      frame(?REQUEST, 0, []), frame(?CAST, 1, []),
                      frame(?PING, 1, []), frame(?PING, 0, <<"body">>), frame(?BYE, 1, []),
                      [frame(?BYE, 0, []), frame(?BYE, 0, [])],
                      <<?REQUEST, 1, 0:16, 0:32, 1:64>>, <<?REQUEST, 0, 1:16, 0:32, 1:64>>,
                      binary:copy(<<255>>, 100000)]],
    ?assertEqual({ok, Port}, call(Client, gen_rpc_registry, lookup, [Node])),
    ?assertEqual(Node, echo(Client, Node)).

%% A length over max_message_size is refused when it is read: nothing is allocated for it.
length_over_the_limit(Config) ->
    {_, Server} = restart(Config, [{max_message_size, 1024 * 1024}]),
    Binaries = call(Server, gen_rpc_test_node, memory, [binary]),
    [begin
         Guest = log_in(Server),
         ok = gen_tcp:send(Guest, <<Type, 0:24, Size:32, Id:64>>),
         ?assert(is_closed(Guest)),
         ok = gen_tcp:close(Guest)
     end || {Type, Id} <- [{?REQUEST, 1}, {?CAST, 0}], Size <- [1024 * 1024 + 1, 16#FFFFFFFF]],
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    wait(fun() -> call(Server, gen_rpc_test_node, memory, [binary]) < Binaries + 1024 * 1024 end).

%% An id can be used again only when its request is answered.
same_id_twice(Config) ->
    {_, Server} = restart(Config, []),
    Guest = log_in(Server),
    Request = request(1, {erlang, node, []}),
    [begin
         ok = gen_tcp:send(Guest, Request),
         ?assertMatch({?REPLY, 1, _}, receive_frame(Guest))
     end || _ <- [1, 2]],
    Waiting = request(2, {gen_rpc_test_target, wait_at_gate, [gate]}),
    ok = gen_tcp:send(Guest, [Waiting, Waiting]),
    ?assert(is_closed(Guest)),
    wait(fun() -> reasons(Server, "incoming connection lost") =:= [protocol_error] end),
    ok = gen_tcp:close(Guest),
    wait(fun() -> call(Server, gen_rpc_test_target, at_gate, [gate]) end),
    ok = call(Server, gen_rpc_test_target, open_gate, [gate]).

%% Who has said goodbye starts nothing new.
request_after_goodbye(Config) ->
    {_, Server} = restart(Config, []),
    Guest = log_in(Server),
    ok = gen_tcp:send(Guest, [request(1, {timer, sleep, [50]}), frame(?BYE, 0, []),
                              request(2, {erlang, node, []})]),
    ?assert(is_closed(Guest)),
    wait(fun() -> reasons(Server, "incoming connection lost") =:= [protocol_error] end),
    ok = gen_tcp:close(Guest).

%% A peer that pings without end and reads no answer fills no memory: what it is owed is bounded.
flood_of_pings(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Node = echo(Client, {Node, before}),
    Guest = log_in(Server),
    ok = inet:setopts(Guest, [{send_timeout, 500}]),
    Pings = binary:copy(frame(?PING, 0, []), 65536),
    ok = send_until_stuck(Guest, Pings, 32),
    Output = [Output || #{output := Output} <- gen_rpc_test_node:acceptors(Server)],
    ?assert(lists:max(Output) < 5 * 1024 * 1024, Output),
    ?assertEqual(Node, echo(Client, {Node, before})),
    ok = gen_rpc_test_stranger:reset(Guest),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 1 end).

send_until_stuck(_Guest, _Bytes, 0) ->
    ok;
send_until_stuck(Guest, Bytes, N) ->
    case gen_tcp:send(Guest, Bytes) of
        ok -> send_until_stuck(Guest, Bytes, N - 1);
        {error, timeout} -> ok
    end.

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).

request(Id, MFA) ->
    frame(?REQUEST, Id, term_to_binary(MFA)).

reasons(Node, What) ->
    [Reason || #{reason := Reason} <- lines(Node, What)].
