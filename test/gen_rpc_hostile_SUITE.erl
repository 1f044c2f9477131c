%% SPDX-License-Identifier: Apache-2.0
%% Attacks on a node, by somebody without the cookie, by somebody with it, and by a server that a node
%% calls, while two nodes go on calling. Of each the log of the suite has a line: what the calls took
%% before and meanwhile, how much memory the attack got, and what was logged. Asserted are what stopped
%% it, that honest calls all came back right, and bounds of memory, atoms and lines.
-module(gen_rpc_hostile_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([ten_thousand_silent/1, ten_thousand_silent_over_tls/1, handshakes_byte_by_byte/1,
         garbage_by_the_thousand/1, tls_handshakes_by_the_thousand/1, names_by_the_thousand/1,
         flood/1, flood_over_tls/1]).
-export([million_pings/1, million_casts/1, more_than_the_window/1, sizes_of_four_gigabytes/1,
         messages_that_never_end/1, messages_without_end_are_few/1, cancels_of_nothing/1,
         replies_to_nothing/1, bombs_within_the_limit/1, bombs_beyond_what_they_say/1,
         compressed_terms/1, huge_sizes_inside_of_terms/1, new_atoms_by_the_thousand/1,
         replies_nobody_reads/1]).
-export([answers_that_nobody_asked_for/1, answers_that_break_the_protocol/1,
         answers_that_are_no_results/1, answers_that_never_end/1]).
-export([call_here/2]).

-import(gen_rpc_test_node, [call/4, wait/1, wait/2]).
-import(gen_rpc_test_stranger, [connect/1, connect/2, hello/2, login/4, log_in/1, log_in/2,
                                frame/3, frame/5, until_pong/1, until_used/3, is_closed/1,
                                is_closed_now/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(MIB, (1024 * 1024)).

-define(IMPOSTOR, 'impostor@127.0.0.1').

%% What an attack may cost in memory if nothing else is said: some buffers, and garbage of processes.
-define(LITTLE, 64 * ?MIB).

-define(REQUEST, 1).
-define(CAST, 2).
-define(REPLY, 3).
-define(TOOBIG, 4).
-define(PING, 5).
-define(DATA, 8).
-define(CANCEL, 12).

%% Of small messages that a server may hold, and for what each counts besides its bytes.
-define(WINDOW, (4 * ?MIB)).
-define(OVERHEAD, 128).

-define(LARGE, 16#01).
-define(END, 16#02).
-define(DEFLATED, 16#08).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, without_the_cookie}, {group, with_the_cookie}, {group, as_server}].

groups() ->
    [{without_the_cookie, [],
      [ten_thousand_silent, ten_thousand_silent_over_tls, handshakes_byte_by_byte,
       garbage_by_the_thousand, tls_handshakes_by_the_thousand, names_by_the_thousand,
       flood, flood_over_tls]},
     {with_the_cookie, [],
      [million_pings, million_casts, more_than_the_window, sizes_of_four_gigabytes,
       messages_that_never_end, messages_without_end_are_few, cancels_of_nothing,
       replies_to_nothing, bombs_within_the_limit, bombs_beyond_what_they_say, compressed_terms,
       huge_sizes_inside_of_terms, new_atoms_by_the_thousand, replies_nobody_reads]},
     {as_server, [],
      [answers_that_nobody_asked_for, answers_that_break_the_protocol,
       answers_that_are_no_results, answers_that_never_end]}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    [{tls, gen_rpc_test_tls:start_pair(Dir)} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%%% Without the cookie

%% They come from a hundred addresses and stay. max_half_open is what stops them, and new nodes find
%% their way in among them.
ten_thousand_silent(Config) ->
    {Client, #{port := Port} = Server} = restart(Config, [{authentication_timeout, ?LONG}]),
    silent(Client, Server, Port, fun gen_rpc_test_node:half_open/1, ten_thousand_silent).

%% Over TLS it is the same; as long as they say nothing they cost no TLS session.
ten_thousand_silent_over_tls(Config) ->
    {Client, #{ssl_port := Port} = Server} = restart_tls(Config, [{authentication_timeout, ?LONG}]),
    silent(Client, Server, Port, fun half_open_ssl/1, ten_thousand_silent_over_tls).

silent(Client, #{node := Node} = Server, Port, HalfOpen, Name) ->
    Report = siege(Name, Client, Server,
                   fun() ->
                           Sockets = [connect({127, 0, 1, I rem 100 + 1}, Port)
                                      || I <- lists:seq(1, 10000)],
                           Most = HalfOpen(Server),
                           New = [call(Client, ?MODULE, call_here, [{Node, K}, ?LONG])
                                  || K <- lists:seq(1, 20)],
                           lists:foreach(fun gen_tcp:close/1, Sockets),
                           {Most, New}
                   end),
    #{result := {Most, New}, reasons := Reasons} = Report,
    %% And those that were accepted with one look at the socket, and not looked at.
    ?assert(Most =< 2000 + 64, Most),
    ?assertEqual(20, length([ok || N <- New, N =:= Node]), New),
    ?assertMatch(#{{"peer refused", max_half_open} := _}, Reasons),
    only(Report, ["peer refused"], [max_half_open, closed, {tls, closed}]),
    %% Some 40 kB for each that may be there.
    modest(Report, 128 * ?MIB).

%% A thousand of them, one byte each in turn: the time limit is for the whole of it.
handshakes_byte_by_byte(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{authentication_timeout, 1000}]),
    Hello = hello(<<"slow@host">>, atom_to_binary(Node)),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           Sockets = [connect({127, 0, 1, I rem 10 + 1}, Port)
                                      || I <- lists:seq(1, 1000)],
                           Left = send_in_turn(Sockets, Hello),
                           lists:foreach(fun gen_tcp:close/1, Sockets),
                           Left
                   end),
    ?assertEqual([], maps:get(result, Report)),
    only(Report, ["peer refused"], [authentication_timeout]),
    modest(Report, ?LITTLE).

%% Those that are still open when each byte was sent; they get the last ones until nobody is left.
send_in_turn([], _Bytes) ->
    [];
send_in_turn(Sockets, <<_Last>> = Bytes) ->
    timer:sleep(100),
    send_in_turn([S || S <- Sockets, not is_closed_now(S)], Bytes);
send_in_turn(Sockets, <<Byte, Rest/binary>>) ->
    send_in_turn([S || S <- Sockets, gen_tcp:send(S, <<Byte>>) =:= ok], Rest).

%% Five thousand that say something else than our protocol, the wrong sizes among them, are closed at
%% their first wrong byte.
garbage_by_the_thousand(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{authentication_timeout, ?LONG}]),
    <<Head:6/binary, _Size:16, Body/binary>> = hello(<<"a@host">>, atom_to_binary(Node)),
    Cut = binary:part(Body, 0, byte_size(Body) - 1),
    Garbage = [<<"GET / HTTP/1.1\r\n\r\n">>, rand:bytes(4096), binary:copy(<<255>>, 4096),
               <<Head/binary, 16#FFFF:16>>, <<Head/binary, 0:16>>,
               <<Head/binary, (byte_size(Cut)):16, Cut/binary>>],
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [begin
                                Socket = connect(Port),
                                ok = gen_tcp:send(Socket, Bytes),
                                true = is_closed(Socket),
                                gen_tcp:close(Socket)
                            end || _ <- lists:seq(1, 5000 div length(Garbage)), Bytes <- Garbage]
                   end),
    only(Report, ["peer refused"], [not_gen_rpc, protocol_error]),
    modest(Report, ?LITTLE).

%% Each of them makes us compute a key. That is done by threads of its own, so calls go on.
tls_handshakes_by_the_thousand(Config) ->
    {Client, #{ssl_port := Port} = Server} = restart_tls(Config, [{authentication_timeout, ?LONG}]),
    Hello = gen_rpc_test_tls:client_hello(16#0303),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [begin
                                Sockets = [connect({127, 0, 1, I}, Port) || I <- lists:seq(1, 100)],
                                [ok = gen_tcp:send(S, Hello) || S <- Sockets],
                                %% The server's answer has its key, and its signature over it.
                                [{ok, _} = gen_tcp:recv(S, 0, ?LONG) || S <- Sockets],
                                lists:foreach(fun gen_tcp:close/1, Sockets)
                            end || _ <- lists:seq(1, 20)]
                   end),
    only(Report, ["peer refused"], [closed, {tls, closed}, {tls, truncated}]),
    modest(Report, ?LITTLE).

%% Names that strangers give themselves become no atoms, in no mode.
names_by_the_thousand(Config) ->
    [begin
         {Client, #{node := Node, port := Port} = Server} =
             restart(Config, [{rpc_module_control, Mode}, {rpc_module_list, modules(Mode)}]),
         Report = siege(?FUNCTION_NAME, Client, Server,
                        fun() ->
                                [begin
                                     Socket = connect(Port),
                                     Name = <<"stranger", (integer_to_binary(I))/binary, "@host">>,
                                     {refused, 1} = login(Socket, Name, atom_to_binary(Node),
                                                          <<"guess">>),
                                     gen_tcp:close(Socket)
                                 end || I <- lists:seq(1, 2000)]
                        end),
         only(Report, ["peer refused"], [invalid_cookie]),
         ?assertEqual({Mode, 0}, {Mode, maps:get(atoms, Report)}),
         modest(Report, ?LITTLE)
     end || Mode <- [disabled, whitelist, blacklist]].

modules(disabled) -> [];
modules(whitelist) -> [gen_rpc_test_target, erlang];
modules(blacklist) -> [os].

%% Strangers hold all places, and come so fast that each is replaced within a second. A node comes from
%% an address of its own, and gets in at its first attempt, again and again.
flood(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        gen_rpc_test_pair:restart(pair(Config), persistent(), persistent()),
    flood(?FUNCTION_NAME, Client, Server, Port, hello(<<"stranger@host">>, atom_to_binary(Node))).

%% Over TLS each of them also asks for a key, and there are more than can be computed.
flood_over_tls(Config) ->
    {Client, #{ssl_port := Port} = Server} = restart_tls(Config, persistent(), persistent()),
    flood(?FUNCTION_NAME, Client, Server, Port, gen_rpc_test_tls:client_hello(16#0303)).

%% Nobody gives up, and nobody tries twice.
persistent() ->
    [{reconnect_backoff_max, 0} | gen_rpc_test_tls:patient()].

flood(Name, Client, #{node := Node} = Server, Port, Hello) ->
    Report = siege(Name, Client, Server,
                   fun() ->
                           Flood = gen_rpc_test_flood:start(Port, 8, Hello),
                           wait(fun() -> gen_rpc_test_flood:count(Flood) > 4000 end, ?LONG),
                           {Time, New} =
                               timer:tc(fun() -> [call(Client, ?MODULE, call_here,
                                                       [{Node, K}, ?LONG])
                                                  || K <- lists:seq(1, 10)] end),
                           ct:pal("~s: ~b strangers, ten nodes in ~b ms",
                                  [Name, gen_rpc_test_flood:count(Flood), Time div 1000]),
                           ok = gen_rpc_test_flood:stop(Flood),
                           New
                   end),
    #{result := New, reasons := Reasons} = Report,
    ?assertEqual([Node], lists:usort(New)),
    ?assertMatch(#{{"peer refused", max_half_open} := _}, Reasons),
    only(Report, ["peer refused"], [max_half_open, max_half_open_per_address, closed, econnreset,
                                    {tls, closed}, {tls, truncated}]),
    modest(Report, 128 * ?MIB).

%%% With the cookie

%% The smallest frame there is, a million times, by somebody who reads the answers.
million_pings(Config) ->
    {Client, Server} = restart(Config, []),
    Guest = log_in(Server),
    Pings = binary:copy(frame(?PING, 0, []), 10000),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [begin
                                ok = gen_tcp:send(Guest, Pings),
                                ok = pongs(Guest, 10000)
                            end || _ <- lists:seq(1, 100)]
                   end),
    nothing_logged(Report),
    modest(Report, ?LITTLE),
    ok = gen_tcp:close(Guest).

pongs(_Guest, 0) ->
    ok;
pongs(Guest, N) ->
    <<6, 0:120>> = gen_rpc_test_stranger:recv(Guest, 16),
    pongs(Guest, N - 1).

%% A million casts of nothing, within the window: each is taken by a process of its own, and is no
%% request. The lines about them have a limit.
million_casts(Config) ->
    {Client, Server} = restart(Config, []),
    Guest = log_in(Server),
    Casts = binary:copy(frame(?CAST, 0, []), 10000),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> in_window(Guest, Casts, 10000 * (16 + ?OVERHEAD), 100) end),
    modest(Report, 128 * ?MIB),
    ok = gen_tcp:close(Guest).

%% Who sends more than the server has taken, because it may not start as many, is cut off by the
%% window: 4 MiB are the most that is kept for it.
more_than_the_window(Config) ->
    {Client, Server} = restart(Config, [{max_concurrent_calls, 10}]),
    Guest = log_in(Server),
    Sleep = term_to_binary({timer, sleep, [infinity]}),
    ok = gen_tcp:send(Guest, [frame(?REQUEST, Id, Sleep) || Id <- lists:seq(1, 5)]),
    Casts = binary:copy(frame(?CAST, 0, term_to_binary({timer, sleep, [100]})), 1000),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> send_until_closed(Guest, Casts, 1000) end),
    ?assertEqual(closed, maps:get(result, Report)),
    only(Report, ["incoming connection lost"], [protocol_error]),
    modest(Report, ?LITTLE),
    ok = gen_tcp:close(Guest),
    ok = end_sleepers(Server).

send_until_closed(Guest, _Bytes, 0) ->
    case is_closed(Guest) of
        true -> closed;
        false -> never_closed
    end;
send_until_closed(Guest, Bytes, N) ->
    case gen_tcp:send(Guest, Bytes) of
        ok -> send_until_closed(Guest, Bytes, N - 1);
        {error, _} -> closed
    end.

end_sleepers(Server) ->
    gen_rpc_test_node:run(
      Server, fun() ->
                      [exit(P, kill) || P <- processes(), {current_function, {timer, sleep, 1}} <-
                                                              [process_info(P, current_function)]],
                      ok
              end).

%% Sizes of 2^32-1 in heads and fields: refused as they are read, whatever the limit for messages.
sizes_of_four_gigabytes(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, 16#FFFFFFFF}]),
    Max = 16#FFFFFFFF,
    Small = [<<Type, 0:24, Max:32, Id:64>>
             || {Type, Id} <- [{?REQUEST, 1}, {?CAST, 0}, {?PING, 0}]],
    %% A message of that size is allowed here, but not two, and not one without END that is small.
    Large = [[frame(?CAST, ?LARGE, 0, 0, <<Max:32>>), frame(?CAST, ?LARGE, 1, 0, <<Max:32>>)],
             frame(?CAST, ?LARGE, 64, 0, <<Max:32>>),
             frame(?CAST, ?DEFLATED, 0, 0, <<Max:32, 0>>),
             <<?CAST, ?LARGE, 0:16, Max:32, 0:64, Max:32>>,
             <<?DATA, 0, 0:16, Max:32, 0:64>>],
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> each_is_closed(Server, repeat(20, Small ++ tl(Large))) end),
    only(Report, ["incoming connection lost"], [protocol_error]),
    modest(Report, ?LITTLE),
    %% Nothing is touched of a message that has only begun, but the VM counts it.
    ok = each_is_closed(Server, [hd(Large)]).

%% A message that begins and does not go on holds its size, max_message_size at most for a connection.
%% One that goes on beyond its size, or beside another of that size, is a violation.
messages_that_never_end(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, ?MIB}]),
    Part = binary:copy(<<0>>, 65536),
    Begin = frame(?CAST, ?LARGE, 0, 0, <<?MIB:32>>),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [begin
                                Guest = log_in(Server),
                                ok = gen_tcp:send(Guest, Begin),
                                closed = send_until_closed(Guest, Bytes, 1000),
                                gen_tcp:close(Guest)
                            end || _ <- lists:seq(1, 3),
                                   Bytes <- [frame(?DATA, 0, 0, 0, Part),
                                             binary:copy(frame(?DATA, 0, 0, 0, <<0>>), 10000),
                                             frame(?DATA, 0, 0, 0, <<>>), Begin,
                                             frame(?CAST, ?LARGE, 1, 0, <<20000:32>>)]]
                   end),
    only(Report, ["incoming connection lost"], [protocol_error]),
    modest(Report, ?LITTLE).

%% Fifty connections, each with a message that stays as it is. What they hold is their sizes, and it is
%% given back as soon as they do not answer a ping.
messages_without_end_are_few(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, ?MIB}, {keepalive_interval, 1}]),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           Guests = [log_in(Server) || _ <- lists:seq(1, 50)],
                           Begin = frame(?CAST, ?LARGE, 0, 0, <<?MIB:32>>),
                           [ok = gen_tcp:send(G, Begin) || G <- Guests],
                           [true = is_closed(G) || G <- Guests],
                           lists:foreach(fun gen_tcp:close/1, Guests)
                   end),
    only(Report, ["incoming connection lost"], [keepalive_timeout]),
    modest(Report, 50 * ?MIB + ?LITTLE).

%% Whoever gives up what there never was is not heard.
cancels_of_nothing(Config) ->
    {Client, Server} = restart(Config, [{kill_on_cancel, true}]),
    Guest = log_in(Server),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           in_portions(Guest, [[frame(?CANCEL, Id, []) || Id <- thousand(I)]
                                               || I <- lists:seq(0, 99)])
                   end),
    nothing_logged(Report),
    modest(Report, ?LITTLE),
    ok = gen_tcp:close(Guest).

%% A client has no replies to give.
replies_to_nothing(Config) ->
    {Client, Server} = restart(Config, []),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           each_is_closed(Server,
                                          [frame(Type, I, Body)
                                           || I <- lists:seq(1, 100),
                                              {Type, Body} <-
                                                  [{?REPLY, <<131, 104, 2, 97, 0, 97, 0>>},
                                                   {?TOOBIG, <<0:128>>}]])
                   end),
    only(Report, ["incoming connection lost"], [protocol_error]),
    modest(Report, ?LITTLE).

%% 16 MiB of zeros are 16 kB on the way. That is allowed, up to max_message_size of all that is under
%% way on a connection; it is no request, and gone when that has been seen.
bombs_within_the_limit(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, 16 * ?MIB}]),
    Guest = log_in(Server),
    Bomb = frame(?CAST, ?LARGE bor ?END bor ?DEFLATED, 0, 0,
                 [<<(16 * ?MIB):32>>, deflate(binary:copy(<<0>>, 16 * ?MIB))]),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> in_portions(Guest, repeat(20, [Bomb])) end),
    modest(Report, 3 * 16 * ?MIB + ?LITTLE),
    ok = gen_tcp:close(Guest).

%% A stream that becomes more than it has announced ends there, however much more it would be.
bombs_beyond_what_they_say(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, 16 * ?MIB}]),
    Bomb = deflate(binary:copy(<<0>>, 32 * ?MIB)),
    Small = deflate(binary:copy(<<0>>, ?MIB)),
    Flags = ?LARGE bor ?END bor ?DEFLATED,
    Bombs = [frame(?CAST, Flags, 0, 0, [<<(16 * ?MIB):32>>, Bomb]),
             frame(?CAST, Flags, 0, 0, [<<20000:32>>, Bomb]),
             frame(?CAST, Flags, 0, 0, [<<(32 * ?MIB):32>>, Bomb]),
             frame(?CAST, ?DEFLATED, 0, 0, [<<16384:32>>, Small])],
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> each_is_closed(Server, repeat(20, Bombs)) end),
    only(Report, ["incoming connection lost"], [protocol_error]),
    modest(Report, 3 * 16 * ?MIB + ?LITTLE).

%% The external term format can be compressed in itself, and says then how large it is. Not here: 100
%% kB would be 100 MB in the memory of the worker, whatever max_message_size is.
compressed_terms(Config) ->
    {Client, Server} = restart(Config, [{max_message_size, ?MIB}]),
    Guest = log_in(Server),
    Term = term_to_binary({gen_rpc_test_target, echo, [binary:copy(<<0>>, 100 * ?MIB)]},
                          [{compressed, 9}]),
    <<131, 80, _/binary>> = Term,
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() -> [answer(Guest, Id, Term) || Id <- lists:seq(1, 20)] end),
    ?assertEqual([{refused, invalid_request}], lists:usort(maps:get(result, Report))),
    modest(Report, ?LITTLE),
    ok = gen_tcp:close(Guest).

%% Lists, tuples, maps, binaries and numbers that say they have 2^32-1 parts, nested ones, and others
%% that stop in the middle.
huge_sizes_inside_of_terms(Config) ->
    {Client, Server} = restart(Config, []),
    Guest = log_in(Server),
    Max = 16#FFFFFFFF,
    Huge = [<<108, Max:32>>, <<105, Max:32>>, <<116, Max:32>>, <<109, Max:32>>, <<111, Max:32, 0>>,
            <<77, Max:32, 8>>, <<112, Max:32>>, <<107, 16#FFFF:16>>, <<98>>, <<90, 16#FFFF:16>>,
            binary:copy(<<108, 1:32>>, 100000), binary:copy(<<104, 1>>, 100000), <<>>],
    <<131, Target/binary>> = term_to_binary(gen_rpc_test_target),
    <<131, Echo/binary>> = term_to_binary(echo),
    Whole = [<<131, 104, 3, Target/binary, Echo/binary, 108, 1:32, H/binary, 106>> || H <- Huge],
    Tails = [<<1, Size:32, 131, 104, 4>> || Size <- [Max, 3, 0]] ++ [<<131>>, <<>>, <<2>>],
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [answer(Guest, I * 1000 + N, Term)
                            || I <- lists:seq(1, 50),
                               {N, Term} <- lists:enumerate(Whole ++ Tails)]
                   end),
    ?assertEqual([{refused, invalid_request}], lists:usort(maps:get(result, Report))),
    modest(Report, 128 * ?MIB),
    ok = gen_tcp:close(Guest).

%% In whitelist mode no new atom is made, by the name of the module, of the function, or in arguments.
new_atoms_by_the_thousand(Config) ->
    {Client, Server} = restart(Config, [{rpc_module_control, whitelist},
                                        {rpc_module_list, [gen_rpc_test_target, erlang]}]),
    Guest = log_in(Server, <<"atoms@host">>),
    <<131, Target/binary>> = term_to_binary(gen_rpc_test_target),
    <<131, Echo/binary>> = term_to_binary(echo),
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           [answer(Guest, Id, <<131, 104, 3, MFA/binary, 106>>)
                            || I <- lists:seq(1, 1000),
                               New <- [new_atom(I)],
                               {Id, MFA} <-
                                   [{3 * I, <<New/binary, Echo/binary, 108, 1:32, 97, 1>>},
                                    {3 * I + 1, <<Target/binary, New/binary, 108, 1:32, 97, 1>>},
                                    {3 * I + 2, <<Target/binary, Echo/binary, 108, 1:32, New/binary>>}]]
                   end),
    ?assertEqual([{refused, invalid_request}, {refused, unauthorized}],
                 lists:usort(maps:get(result, Report))),
    ?assertEqual(0, maps:get(atoms, Report)),
    modest(Report, ?LITTLE),
    ok = gen_tcp:close(Guest).

%% Without the atom itself, which this node would have then, and other tests on it.
new_atom(I) ->
    Name = <<"new_atom_", (integer_to_binary(I))/binary>>,
    <<119, (byte_size(Name)), Name/binary>>.

%% Results of a megabyte that are asked for and not read: no more requests are started than
%% max_concurrent_calls, and after send_timeout without progress that is the end.
replies_nobody_reads(Config) ->
    {Client, Server} = restart(Config, [{send_timeout, 1000}, {max_concurrent_calls, 50}]),
    Guest = log_in(Server),
    Requests = [frame(?REQUEST, Id, term_to_binary({binary, copy, [<<0>>, 900000]}))
                || Id <- lists:seq(1, 2000)],
    Report = siege(?FUNCTION_NAME, Client, Server,
                   fun() ->
                           ok = gen_tcp:send(Guest, Requests),
                           wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 1 end)
                   end),
    only(Report, ["incoming connection lost"], [send_timeout]),
    modest(Report, 2 * 50 * ?MIB + ?LITTLE),
    ok = gen_tcp:close(Guest).

%%% As a server, to a node that calls it

%% Answers to calls that there are not, by the hundred thousand, are not heard. The real one is.
answers_that_nobody_asked_for(Config) ->
    {Client, Server, Impostor} = restart_client(Config, []),
    Nothing = <<131, 104, 2, 97, 0, 106>>,
    Report = siege(?FUNCTION_NAME, client, Client, Server,
                   fun() ->
                           {Call, Socket, Id} = called(Client, Impostor),
                           [ok = gen_tcp:send(Socket, [[frame(?REPLY, N, Nothing),
                                                        frame(?TOOBIG, N, <<N:64, 1:64>>)]
                                                       || N <- thousand(I), N =/= Id])
                            || I <- lists:seq(1, 100)],
                           ok = gen_tcp:send(Socket, frame(?REPLY, Id, term_to_binary({0, at_last}))),
                           Result = gen_rpc_test_task:result(Call),
                           ok = gen_tcp:close(Socket),
                           Result
                   end),
    ?assertEqual(at_last, maps:get(result, Report)),
    only(Report, ["connection lost"], [closed]),
    modest(Report, ?LITTLE).

%% Whatever a server may not send ends the connection: the call is lost, and no other.
answers_that_break_the_protocol(Config) ->
    {Client, Server, Impostor} = restart_client(Config, [{max_message_size, 16 * ?MIB}]),
    Max = 16#FFFFFFFF,
    Bomb = deflate(binary:copy(<<0>>, 32 * ?MIB)),
    Flags = ?LARGE bor ?END bor ?DEFLATED,
    Answers = [fun(_) -> frame(?REQUEST, 1, term_to_binary({erlang, halt, []})) end,
               fun(_) -> frame(?CAST, 0, term_to_binary({erlang, halt, []})) end,
               fun(_) -> frame(?CANCEL, 1, []) end,
               fun(_) -> rand:bytes(1000) end,
               fun(Id) -> <<?REPLY, 0:24, Max:32, Id:64>> end,
               fun(Id) -> frame(?REPLY, ?LARGE, 0, Id, <<Max:32>>) end,
               fun(Id) -> frame(?REPLY, Flags, 0, Id, [<<20000:32>>, Bomb]) end,
               fun(Id) -> frame(?REPLY, Flags, 0, Id, [<<(16 * ?MIB):32>>, Bomb]) end,
               fun(Id) -> frame(?REPLY, ?DEFLATED, 0, Id, [<<16384:32>>, rand:bytes(1000)]) end,
               fun(_) -> frame(?DATA, 0, 5, 0, <<"of what?">>) end,
               fun(_) -> <<11, 0, 0:16, 0:32, Max:64>> end],
    Report = siege(?FUNCTION_NAME, client, Client, Server,
                   fun() ->
                           [begin
                                {Call, Socket, Id} = called(Client, Impostor),
                                ok = gen_tcp:send(Socket, Answer(Id)),
                                Result = gen_rpc_test_task:result(Call),
                                ok = gen_tcp:close(Socket),
                                Result
                            end || _ <- lists:seq(1, 5), Answer <- Answers]
                   end),
    ?assertEqual([{badtcp, protocol_error}], lists:usort(maps:get(result, Report))),
    only(Report, ["connection lost"], [protocol_error]),
    modest(Report, 3 * 16 * ?MIB + ?LITTLE).

%% What is no result, or says that it is huge, is told to the caller as such, and the connection lives.
answers_that_are_no_results(Config) ->
    {Client, Server, Impostor} = restart_client(Config, []),
    Compressed = term_to_binary({0, binary:copy(<<0>>, 10 * ?MIB)}, [{compressed, 9}]),
    ?assert(byte_size(Compressed) =< 16384),
    Max = 16#FFFFFFFF,
    Answers = [<<>>, <<131>>, <<131, 108, Max:32>>, <<131, 104, 2, 97, 0, 105, Max:32>>,
               <<131, 104, 2, 97, 9, 106>>, <<131, 104, 2, 97, 0, 109, Max:32, "short">>,
               term_to_binary(whatever), Compressed],
    Report = siege(?FUNCTION_NAME, client, Client, Server,
                   fun() ->
                           {Call, Socket, Id} = called(Client, Impostor),
                           ok = gen_tcp:send(Socket, frame(?REPLY, Id, <<>>)),
                           First = gen_rpc_test_task:result(Call),
                           Others = [begin
                                         Next = call_impostor(Client),
                                         NextId = gen_rpc_test_impostor:request(Socket),
                                         ok = gen_tcp:send(Socket, frame(?REPLY, NextId, Answer)),
                                         gen_rpc_test_task:result(Next)
                                     end || _ <- lists:seq(1, 20), Answer <- Answers],
                           ok = gen_tcp:close(Socket),
                           [First | Others]
                   end),
    ?assertEqual([{badtcp, invalid_reply}], lists:usort(maps:get(result, Report))),
    only(Report, ["connection lost"], [closed]),
    modest(Report, ?LITTLE).

%% A reply that begins and does not go on holds its size, until its caller has had enough.
answers_that_never_end(Config) ->
    {Client, Server, Impostor} = restart_client(Config, [{max_message_size, 16 * ?MIB},
                                                         {keepalive_interval, 1}]),
    Report = siege(?FUNCTION_NAME, client, Client, Server,
                   fun() ->
                           {Call, Socket, Id} = called(Client, Impostor),
                           ok = gen_tcp:send(Socket, frame(?REPLY, ?LARGE, 0, Id,
                                                           [<<(16 * ?MIB):32>>, <<0:80000>>])),
                           Result = gen_rpc_test_task:result(Call),
                           true = is_closed(Socket),
                           ok = gen_tcp:close(Socket),
                           Result
                   end),
    ?assertEqual({badtcp, keepalive_timeout}, maps:get(result, Report)),
    only(Report, ["connection lost"], [keepalive_timeout]),
    modest(Report, 16 * ?MIB + ?LITTLE).

%% The client knows the way to the server, and to one that is none. It tries anew for each call.
restart_client(Config, Settings) ->
    {_, #{node := Node, port := Port}} = restart(Config, []),
    Listener = gen_rpc_test_impostor:listen(),
    Ways = #{Node => {tcp, Port}, ?IMPOSTOR => {tcp, gen_rpc_test_impostor:port(Listener)}},
    {Client, Server} =
        gen_rpc_test_pair:restart(pair(Config), [{client_config_per_node, {internal, Ways}},
                                                 {reconnect_backoff_max, 0} | Settings],
                                  [{tcp_server_port, Port}]),
    {Client, Server, Listener}.

%% A call, and the socket on which it has arrived.
called(Client, Listener) ->
    Call = call_impostor(Client),
    Socket = gen_rpc_test_impostor:let_in(Listener, gen_rpc_test_node:cookie(Client)),
    {Call, Socket, gen_rpc_test_impostor:request(Socket)}.

call_impostor(Client) ->
    gen_rpc_test_task:start(fun() -> call(Client, ?MODULE, call_here, [?IMPOSTOR, ?LONG]) end).

%% On the client.
call_here(Node, Timeout) ->
    gen_rpc:call(Node, erlang, node, [], Timeout).

%%% Helpers

pair(Config) -> maps:get(pair, proplists:get_value(tls, Config)).

restart(Config, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), [], ServerSettings).

restart_tls(Config, ServerSettings) ->
    restart_tls(Config, [], ServerSettings).

restart_tls(Config, ClientSettings, ServerSettings) ->
    #{client := Client, server := Server} = Tls = proplists:get_value(tls, Config),
    gen_rpc_test_tls:restart(Tls, gen_rpc_test_certs:options(Client),
                             gen_rpc_test_certs:options(Server), ClientSettings, ServerSettings).

%% Honest calls go on, and all come back right; afterwards nothing is left.
siege(Name, Client, Server, Attack) ->
    siege(Name, server, Client, Server, Attack).

siege(Name, Victim, Client, #{node := Node} = Server, Attack) ->
    Report = gen_rpc_test_siege:run(Client, Server, Victim, Attack),
    ok = gen_rpc_test_siege:report(Name, Report),
    ?assertEqual([], maps:get(wrong, Report)),
    ?assert(maps:get(calls, maps:get(calls, Report)) > 0),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [Node] end),
    Report.

modest(#{memory := Memory}, Bound) ->
    ?assert(Memory < Bound, {Memory, Bound}).

%% The log says this, for one of these reasons, and not more often than it may.
only(#{reasons := Reasons}, Whats, Whys) ->
    ?assertNotEqual(#{}, Reasons),
    ?assertEqual([], [R || {What, Why} = R <- maps:keys(Reasons),
                           not lists:member(What, Whats) orelse not lists:member(Why, Whys)]).

nothing_logged(#{reasons := Reasons}) ->
    ?assertEqual(#{}, Reasons).

thousand(I) ->
    lists:seq(I * 1000 + 1, I * 1000 + 1000).

half_open_ssl(Server) ->
    gen_rpc_test_node:half_open(Server, gen_rpc_listener_ssl).

%% For each of these bytes a guest comes, sends them, and is put out.
each_is_closed(Server, Frames) ->
    lists:foreach(fun(Bytes) ->
                          Guest = log_in(Server),
                          ok = gen_tcp:send(Guest, Bytes),
                          true = is_closed(Guest),
                          ok = gen_tcp:close(Guest)
                  end, Frames).

%% So many portions, each of so many bytes as the window counts. All of them are read.
in_window(Guest, Portion, Size, Times) ->
    Last = lists:foldl(fun(I, Used) when is_integer(Used) ->
                               ok = gen_tcp:send(Guest, Portion),
                               until_used(Guest, Used, (I + 1) * Size - ?WINDOW)
                       end, 0, lists:seq(1, Times)),
    ?assert(is_integer(Last)),
    ok = until_pong(Guest).

%% Never more than one portion at a time.
in_portions(Guest, Portions) ->
    lists:foreach(fun(Bytes) ->
                          ok = gen_tcp:send(Guest, Bytes),
                          ok = until_pong(Guest)
                  end, Portions).

repeat(Times, List) ->
    lists:append(lists:duplicate(Times, List)).

%% Of a request of these bytes, which may be small or large.
answer(Guest, Id, Body) when byte_size(Body) =< 16384 ->
    ok = gen_tcp:send(Guest, frame(?REQUEST, Id, Body)),
    reply(Guest, Id);
answer(Guest, Id, Body) ->
    {First, Rest} = split_binary(Body, min(byte_size(Body), 60000)),
    ok = gen_tcp:send(Guest, frame(?REQUEST, ?LARGE bor end_if(Rest), 0, Id,
                                   [<<(byte_size(Body)):32>>, First])),
    ok = send_rest(Guest, Rest),
    reply(Guest, Id).

send_rest(_Guest, <<>>) ->
    ok;
send_rest(Guest, Bytes) ->
    {Part, Rest} = split_binary(Bytes, min(byte_size(Bytes), 65536)),
    ok = gen_tcp:send(Guest, frame(?DATA, end_if(Rest), 0, 0, Part)),
    send_rest(Guest, Rest).

end_if(<<>>) -> ?END;
end_if(_) -> 0.

reply(Guest, Id) ->
    case gen_rpc_test_stranger:recv(Guest, 16) of
        <<?REPLY, 0:24, Size:32, Id:64>> ->
            gen_rpc_result:decode(gen_rpc_test_stranger:recv(Guest, Size));
        <<_Control, _:24, 0:32, _:64>> ->
            reply(Guest, Id)
    end.

deflate(Bytes) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, 9, deflated, -15, 8, default),
    Deflated = zlib:deflate(Z, Bytes, finish),
    ok = zlib:close(Z),
    iolist_to_binary(Deflated).
