%% SPDX-License-Identifier: Apache-2.0
%% What is logged, and what never is. All that a node logs is looked at, of every level.
-module(gen_rpc_log_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([normal_life_is_silent/1, refused_stranger_is_one_line/1, silent_stranger_is_one_line/1]).
-export([wrong_cookie_is_one_line_each/1, broken_peer_is_one_line/1]).
-export([hostile_name_stays_in_its_line/1]).
-export([lines_are_structured/1, default_handler_shows_lines/1]).
-export([flood_is_limited_and_counted/1, casts_do_not_crowd_out_connections/1]).
-export([secrets_are_never_logged/1]).

-import(gen_rpc_test_node, [call/4, rpc/4, run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).
-define(STRANGER, gen_rpc_test_stranger).
-define(COOKIE, <<"gen_rpc_test">>).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [normal_life_is_silent, refused_stranger_is_one_line, silent_stranger_is_one_line,
     wrong_cookie_is_one_line_each, broken_peer_is_one_line, hostile_name_stays_in_its_line,
     lines_are_structured, default_handler_shows_lines, flood_is_limited_and_counted,
     casts_do_not_crowd_out_connections, secrets_are_never_logged].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

%% No test here crashes a process.
end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%% Connecting, working and closing are nothing to report.
normal_life_is_silent(Config) ->
    {Client, Server} = restart(Config, [], []),
    #{node := Node} = Server,
    ?assertEqual(Node, rpc(Client, Server, {erlang, node}, [])),
    ?assertEqual(true, call(Client, gen_rpc, cast, [{Node, key}, erlang, node, []])),
    ?assertMatch({badrpc, {'EXIT', _}}, rpc(Client, Server, {erlang, error}, [reason])),
    ?assertEqual({badrpc, timeout},
                 gen_rpc_test_node:rpc(Client, Server, {timer, sleep}, [60000], 10)),
    ok = gen_rpc_test_node:stop_app(Client),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ok = gen_rpc_test_node:stop_app(Server),
    ?assertEqual([], gen_rpc_test_events:ours(Client)),
    ?assertEqual([], gen_rpc_test_events:ours(Server)).

%%% Peers that we don't want

%% Whoever connects and is not let in is one line with his address and the reason. Nothing else of
%% him is seen: no process is started for him that could crash.
refused_stranger_is_one_line(Config) ->
    {_Client, Server} = restart(Config, [], [{authentication_timeout, infinity}]),
    #{port := Port, node := Node} = Server,
    Expected = [begin
                    Socket = ?STRANGER:connect(Port),
                    {ok, Number} = inet:port(Socket),
                    ok = Act(Socket, atom_to_binary(Node)),
                    ok = wait_for_lines(Server, I),
                    ok = gen_tcp:close(Socket),
                    {"peer refused", Reason, "127.0.0.1", Number}
                end || {I, {Reason, Act}} <- enumerate(strangers())],
    ?assertEqual(Expected,
                 [{What, Reason, Address, Number}
                  || #{report := #{what := What, reason := Reason, address := Address,
                                   port := Number}} <- gen_rpc_test_events:ours(Server)]),
    ?assertEqual([], gen_rpc_test_events:others(Server)).

strangers() ->
    [{not_gen_rpc, sends(<<"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n">>)},
     {not_gen_rpc, sends(<<0>>)},
     {not_gen_rpc, sends(crypto:strong_rand_bytes(100000), <<0>>)},
     {not_gen_rpc, sends(<<16#8e, "GX">>)},
     {protocol_version, sends(<<16#8e, "GR", 0>>)},
     {protocol_error, sends(<<16#8e, "GR", 1, 3>>)},
     {protocol_error, sends(<<16#8e, "GR", 1, 1, 0, 16#FFFF:16>>)},
     {protocol_error, sends(<<16#8e, "GR", 1, 1, 0, 0:16>>)},
     {invalid_cookie, logs_in(<<"wrong">>, same)},
     {wrong_node, logs_in(?COOKIE, <<"other@127.0.0.1">>)},
     {closed, fun(Socket, _) -> gen_tcp:close(Socket) end},
     {closed, fun(Socket, Target) -> close_in_hello(Socket, Target) end},
     {econnreset, fun(Socket, Target) -> reset_after_hello(Socket, Target) end}].

sends(Bytes) ->
    fun(Socket, _) -> gen_tcp:send(Socket, Bytes) end.

%% The first byte is what makes random ones garbage for certain.
sends(Bytes, First) ->
    fun(Socket, _) ->
            %% We may be thrown out before all is sent.
            _ = gen_tcp:send(Socket, [First, Bytes]),
            ok
    end.

logs_in(Cookie, Target) ->
    fun(Socket, Node) ->
            Meant = case Target of same -> Node; _ -> Target end,
            {refused, _} = ?STRANGER:login(Socket, <<"stranger@127.0.0.1">>, Meant, Cookie),
            ok
    end.

close_in_hello(Socket, Target) ->
    <<Half:20/binary, _/binary>> = ?STRANGER:hello(<<"stranger@127.0.0.1">>, Target),
    ok = gen_tcp:send(Socket, Half),
    gen_tcp:close(Socket).

reset_after_hello(Socket, Target) ->
    ok = gen_tcp:send(Socket, ?STRANGER:hello(<<"stranger@127.0.0.1">>, Target)),
    <<_/binary>> = ?STRANGER:recv(Socket, 8),
    ?STRANGER:reset(Socket).

%% So is one that connects and says nothing.
silent_stranger_is_one_line(Config) ->
    {_Client, Server} = restart(Config, [], [{authentication_timeout, 50}]),
    Socket = ?STRANGER:connect(maps:get(port, Server)),
    {ok, Number} = inet:port(Socket),
    ?assert(?STRANGER:is_closed(Socket)),
    ok = wait_for_lines(Server, 1),
    ok = gen_tcp:close(Socket),
    ?assertMatch([#{what := "peer refused", reason := authentication_timeout,
                    address := "127.0.0.1", port := Number}], reports(Server)),
    ?assertEqual([], gen_rpc_test_events:others(Server)).

%% When the cookies of two nodes differ, each of them says so in one line.
wrong_cookie_is_one_line_each(Config) ->
    {Client, Server} = restart(Config, [{secret_cookie, "other"}, {reconnect_backoff_max, 0}],
                               []),
    ?assertEqual({badrpc, invalid_cookie}, rpc(Client, Server, {erlang, node}, [])),
    ok = wait_for_lines(Server, 1),
    #{node := Node} = Server,
    ?assertMatch([#{what := "cannot connect", reason := invalid_cookie, node := Node}],
                 reports(Client)),
    ?assertMatch([#{what := "peer refused", reason := invalid_cookie, address := "127.0.0.1"}],
                 reports(Server)).

%% A peer that was let in and then breaks the protocol, or the connection, is one line with his name
%% and address. One that just goes is none.
broken_peer_is_one_line(Config) ->
    {_Client, Server} = restart(Config, [], []),
    Name = <<"stranger@127.0.0.1">>,
    Numbers = [begin
                   {Socket, Number} = log_in(Server, Name),
                   ok = Act(Socket),
                   wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
                   ok = gen_tcp:close(Socket),
                   Number
               end || Act <- [fun(Socket) -> gen_tcp:close(Socket) end | bad_habits()]],
    ok = wait_for_lines(Server, length(bad_habits())),
    ?assertEqual(lists:zipwith(fun(Reason, Number) ->
                                       {"incoming connection lost", Reason, Name, "127.0.0.1",
                                        Number}
                               end,
                               [protocol_error, protocol_error, protocol_error, closed_in_frame,
                                econnreset],
                               tl(Numbers)),
                 [{What, Reason, Node, Address, Number}
                  || #{what := What, reason := Reason, node := Node, address := Address,
                       port := Number} <- reports(Server)]).

bad_habits() ->
    [fun(Socket) -> gen_tcp:send(Socket, <<"garbage, and more than a header">>) end,
     fun(Socket) -> gen_tcp:send(Socket, ?STRANGER:frame(3, 1, "a reply out of nowhere")) end,
     fun(Socket) -> gen_tcp:send(Socket, <<1, 0:24, 16#FFFFFFFF:32, 1:64, "too long">>) end,
     fun(Socket) ->
             <<Half:20/binary, _/binary>> = ?STRANGER:frame(1, 1, "a request"),
             ok = gen_tcp:send(Socket, Half),
             gen_tcp:close(Socket)
     end,
     fun(Socket) -> ?STRANGER:reset(Socket) end].

%% A name can hold any character. In the log it is readable, unless it tries to look like more
%% than one line.
hostile_name_stays_in_its_line(Config) ->
    {_Client, Server} = restart(Config, [], []),
    Names = [<<"stranger@127.0.0.1">>, <<"дом@127.0.0.1"/utf8>>, <<"a\ngen_rpc: all is well">>,
             <<"\e[2J@127.0.0.1">>, <<0, 255, 10, 13>>],
    [begin
         {Socket, _} = log_in(Server, Name),
         ok = gen_tcp:send(Socket, <<"garbage, and more than a header">>),
         ok = wait_for_lines(Server, I),
         ok = gen_tcp:close(Socket)
     end || {I, Name} <- enumerate(Names)],
    Texts = [Text || #{text := Text} <- gen_rpc_test_events:ours(Server)],
    [?assertEqual([], [C || C <- Text, C < $\s orelse C =:= 127]) || Text <- Texts],
    ?assertNotEqual(nomatch, string:find(lists:nth(1, Texts), "stranger@127.0.0.1")),
    ?assertNotEqual(nomatch, string:find(lists:nth(2, Texts), "дом@127.0.0.1")).

%%% Form

%% A line is a report in the domain [gen_rpc], with what happened as text and all else as data; as
%% text it is one line that begins with the name of the application.
lines_are_structured(Config) ->
    {Client, Server} = restart(Config, [{secret_cookie, "other"}], []),
    ?assertEqual({badrpc, invalid_cookie}, rpc(Client, Server, {erlang, node}, [])),
    ?assertEqual(true, call(Client, gen_rpc, cast, [no_host, erlang, node, []])),
    ok = run(Client, fun() -> gen_server:cast(gen_rpc_dispatcher, stray) end),
    ok = wait_for_lines(Client, 4),
    ok = wait_for_lines(Server, 1),
    [begin
         ?assertEqual([gen_rpc], Domain),
         ?assert(lists:member(Level, [error, warning, notice])),
         #{what := What} = Report,
         ?assert(io_lib:printable_latin1_list(What)),
         ?assertNotEqual(nomatch, string:prefix(Text, "gen_rpc: " ++ What)),
         ?assertEqual(nomatch, string:find(Text, "\n")),
         [?assertNotEqual(nomatch, string:find(Text, " " ++ atom_to_list(Key) ++ "="))
          || Key <- maps:keys(Report), Key =/= what]
     end || Node <- [Client, Server],
            #{level := Level, domain := Domain, report := Report, text := Text}
                <- gen_rpc_test_events:ours(Node)].

%% OTP's default handler drops the domains of others; while the application runs it shows ours.
default_handler_shows_lines(Config) ->
    {Client, _Server} = restart(Config, [], []),
    Shown = fun() -> run(Client, fun is_shown_by_default/0) end,
    ?assert(Shown()),
    ok = gen_rpc_test_node:stop_app(Client),
    ?assertNot(Shown()).

%% As the logger does it: the first filter that does not ignore the event decides.
is_shown_by_default() ->
    {ok, #{filters := Filters, filter_default := Default}} = logger:get_handler_config(default),
    Event = #{level => warning, msg => {report, #{what => "test"}},
              meta => #{domain => [gen_rpc], pid => self(), gl => group_leader(),
                        time => logger:timestamp()}},
    Decisions = [Decision || {_, {Filter, Extra}} <- Filters,
                             Decision <- [Filter(Event, Extra)], Decision =/= ignore],
    hd(Decisions ++ [Default]) =/= stop.

%% A thousand casts that fail leave room for the line that says why.
casts_do_not_crowd_out_connections(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    run(Client,
        fun() ->
                [true = gen_rpc:cast(Node, erlang, error, [failed]) || _ <- lists:seq(1, 1000)],
                Node = gen_rpc:call(Node, erlang, node, []),
                gen_rpc:call(Node, gen_rpc_log, notice, [#{what => "connection lost"}])
        end),
    Failed = fun() -> lists:sum([1 + maps:get(left_out, Report, 0)
                                 || #{what := "cast failed"} = Report <- reports(Server)]) end,
    %% All have failed when one more, in a later second, tells of those that were left out.
    wait(fun() ->
                 true = run(Client, fun() -> gen_rpc:cast(Node, erlang, error, [failed]) end),
                 timer:sleep(100),
                 Failed() >= 1001
         end),
    ?assert(length([said || #{what := "cast failed"} <- reports(Server)]) < 1000),
    ?assertMatch([_], [said || #{what := "connection lost"} <- reports(Server)]).

%% A peer can't fill the log: beyond 50 lines a second they are left out, and a later line says how
%% many. So all are accounted for.
flood_is_limited_and_counted(Config) ->
    {_Client, #{port := Port} = Server} = restart(Config, [], []),
    Knocks = counters:new(1, []),
    Knock = fun() ->
                    Socket = ?STRANGER:connect(Port),
                    ok = gen_tcp:send(Socket, "garbage"),
                    true = ?STRANGER:is_closed(Socket),
                    ok = gen_tcp:close(Socket),
                    counters:add(Knocks, 1, 1)
            end,
    Account = fun() ->
                      Reports = reports(Server),
                      LeftOut = lists:sum([N || #{left_out := N} <- Reports]),
                      {length(Reports) + LeftOut, counters:get(Knocks, 1)}
              end,
    %% Lines of a later second are let through again.
    IsBalanced = fun() ->
                         {Logged, Knocked} = Account(),
                         Logged =:= Knocked orelse (Logged < Knocked andalso ok =/= Knock())
                 end,
    [ok = Knock() || _ <- lists:seq(1, 500)],
    wait(IsBalanced),
    [ok = Knock() || _ <- lists:seq(1, 5)],
    wait(IsBalanced),
    ?assert(length(reports(Server)) < 500),
    ?assertEqual([], gen_rpc_test_events:others(Server)).

%%% Secrets

%% Arguments, results, keys and cookies appear in nothing that a node logs, whatever fails: not in
%% lines of gen_rpc, and not in what OTP reports of its processes.
secrets_are_never_logged(Config) ->
    Cookie = "chocolate" ++ "chip",
    {Client, Server} = restart(Config,
                               [{secret_cookie, Cookie}, {max_message_size, 10000}],
                               [{secret_cookie, list_to_atom(Cookie)}]),
    #{node := Node} = Server,
    Secret = "vanilla",
    run(Client,
        fun() ->
                Dest = {Node, [{key, Secret}]},
                [begin
                     {badrpc, {'EXIT', _}} = gen_rpc:call(Dest, M, F, A),
                     true = gen_rpc:cast(Dest, M, F, A)
                 end || {M, F, A} <- failures(Secret)],
                {badrpc, timeout} = gen_rpc:call(Dest, ?TARGET, wait_at_gate, [early, Secret], 10),
                {badrpc, {message_too_big, _, _}} = gen_rpc:call(Dest, ?TARGET, echo, big(Secret)),
                true = gen_rpc:cast(Dest, ?TARGET, echo, big(Secret)),
                {badrpc, nodedown} = gen_rpc:call({no_host, Secret}, ?TARGET, echo, [Secret]),
                true = gen_rpc:cast({no_host, Secret}, ?TARGET, echo, [Secret]),
                true = gen_rpc:cast({node(), Secret}, ?TARGET, only_zero, [Secret])
        end),
    [run(T, fun() -> send_strays(Secret) end) || T <- [Client, Server]],
    %% A node that dies with calls in flight.
    Wait = fun() ->
                   gen_rpc:call({Node, [{key, Secret}]}, ?TARGET, wait_at_gate, [late, Secret])
           end,
    Call = gen_rpc_test_task:start(fun() -> run(Client, Wait) end),
    [wait(fun() -> call(Server, ?TARGET, at_gate, [Gate]) end) || Gate <- [early, late]],
    ok = call(Server, ?TARGET, open_gate, [early]),
    ok = gen_rpc_test_node:stop_app(Server),
    ?assertMatch({badtcp, _}, gen_rpc_test_task:result(Call)),
    ok = gen_rpc_test_node:stop_app(Client),
    [begin
         %% There was something to see.
         ?assert(length(gen_rpc_test_events:ours(T)) > 5),
         Text = gen_rpc_test_events:text(T),
         ?assertEqual(nomatch, string:find(Text, Secret)),
         ?assertEqual(nomatch, string:find(Text, Cookie))
     end || T <- [Client, Server]].

failures(Secret) ->
    [{?TARGET, only_zero, [Secret]},
     {?TARGET, match, [{error, list_to_binary(Secret)}]},
     {?TARGET, which, [{Secret, #{Secret => Secret}}]},
     {?TARGET, if_true, [Secret]},
     {?TARGET, try_it, [Secret]},
     {?TARGET, bif_inside, [Secret]},
     {?TARGET, divide, [Secret, 0]},
     {?TARGET, no_such_function, [Secret, Secret]},
     {?TARGET, echo, [Secret | Secret]},
     {?TARGET, echo, [{Secret} | improper]},
     {no_such_module, f, [Secret]},
     {erlang, atom_to_list, [Secret]},
     {erlang, error, [Secret]},
     {erlang, error, [{reason, Secret}]},
     {erlang, error, [reason, [Secret]]},
     {erlang, exit, [Secret]},
     {erlang, exit, [{reason, Secret}]}].

big(Secret) ->
    [lists:duplicate(2000, Secret)].

%% To every process of the application, by every way in which a message can come.
send_strays(Secret) ->
    Children = [Pid || Supervisor <- [gen_rpc_client_sup, gen_rpc_acceptor_sup],
                       {_, Pid, _, _} <- supervisor:which_children(Supervisor)],
    Servers = [Pid || {_, Pid, worker, _} <- supervisor:which_children(gen_rpc_sup)],
    [begin
         Pid ! {stray, Secret},
         ok = gen_server:cast(Pid, {stray, Secret}),
         {error, unknown_call} = gen_server:call(Pid, {stray, Secret})
     end || Pid <- Children ++ Servers].

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), ClientSettings, ServerSettings).

%% A stranger that knows the cookie, and the number of the port that it comes from.
log_in(Server, Name) ->
    Socket = ?STRANGER:log_in(Server, Name),
    {ok, Number} = inet:port(Socket),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 1 end),
    {Socket, Number}.

reports(Node) ->
    [Report || #{report := Report} <- gen_rpc_test_events:ours(Node)].

wait_for_lines(Node, Count) ->
    wait(fun() -> length(gen_rpc_test_events:ours(Node)) >= Count end).

enumerate(List) ->
    lists:zip(lists:seq(1, length(List)), List).
