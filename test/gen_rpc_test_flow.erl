%% SPDX-License-Identifier: Apache-2.0
%% What the suites about flow control share: three nodes, a valve between two of them, and on the
%% nodes a gauge, a gate and a watch over memory.
-module(gen_rpc_test_flow).

-include_lib("stdlib/include/assert.hrl").

-export([start/1, stop/1, restart/3, restart_with_valve/3, refuse/2, finish/1, other/1]).
-export([start_valve/1, stop_valve/1, valve_port/1, set/3, set_existing/3, passed/2]).
-export([at_once/2, echo/2, echo/3, port_of/2, connection/2, counter/2, mailbox/0, served/1]).
-export([start_gauge/0, gauge/0, held/1, held/2, brief/1, brief/2]).
-export([close_gate/0, open_gate/0]).
-export([note/2, noted/1, compare/2, forget/1]).
-export([watch/1, watched/1, start_watch/0, stop_watch/0]).
-export([worker_pids/0, kill_others/1]).

-import(gen_rpc_test_node, [call/4, wait/1]).

%% Bytes that pass at once, or none, or all there are.
-type rate() :: pos_integer() | shut | free.
-type direction() :: to_server | to_client.
-type valve() :: {pid(), inet:port_number(), atomics:atomics_ref()}.
-export_type([valve/0]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(GATE, gen_rpc_test_gate).
-define(GAUGE, {?MODULE, gauge}).
-define(WATCH, gen_rpc_test_watch).

%% Between two pieces that a throttled valve lets through, and two looks at the memory, ms.
-define(STEP, 1).
-define(LOOK, 10).

%% What the kernel keeps for a valve, bytes.
-define(BUFFER, 128 * 1024).

%%% Nodes

%% A client and a server with certificates, and another node that the client knows the way to. The
%% configuration of the suites has `flow' and, in a group over TLS, {transport, ssl}.
-spec start([{atom(), term()}]) -> [{atom(), term()}].
start(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    Tls = gen_rpc_test_tls:start_pair(Dir),
    Other = gen_rpc_test_node:keep(gen_rpc_test_node:start([])),
    #{pair := {Client, Server}} = Tls,
    Nodes = [{Node, call(Node, erlang, processes, [])} || Node <- [Client, Server, Other]],
    [{flow, Tls#{other => Other, nodes => Nodes}} | Config].

-spec stop([{atom(), term()}]) -> ok.
stop(Config) ->
    #{pair := Pair, other := Other} = proplists:get_value(flow, Config),
    ok = gen_rpc_test_pair:stop(Pair),
    gen_rpc_test_node:stop(Other).

-spec other([{atom(), term()}]) -> gen_rpc_test_node:t().
other(Config) ->
    maps:get(other, proplists:get_value(flow, Config)).

%% Restarts client and server with these settings.
-spec restart([{atom(), term()}], [{atom(), term()}], [{atom(), term()}]) ->
          gen_rpc_test_pair:t().
restart(Config, ClientSettings, ServerSettings) ->
    Server = restart_server(Config, ServerSettings),
    {restart_client(Config, Server, port(Config, Server), ClientSettings), Server}.

%% With none of these values of settings the application starts.
-spec refuse([{atom(), term()}], [{Setting :: atom(), [term()]}]) -> ok.
refuse(Config, Settings) ->
    {Client, _} = restart(Config, [], []),
    ok = gen_rpc_test_node:stop_app(Client),
    gen_rpc_test_pair:while_crashing(
      Client,
      fun() ->
              [begin
                   ok = call(Client, application, set_env, [gen_rpc, Key, Value]),
                   ?assertMatch({error, {{invalid_setting, Key, Value, _}, _}},
                                call(Client, application, start, [gen_rpc])),
                   ok = call(Client, application, unset_env, [gen_rpc, Key])
               end || {Key, Values} <- Settings, Value <- Values],
              ok
      end).

%% The same with a valve in between, which is open.
-spec restart_with_valve([{atom(), term()}], [{atom(), term()}], [{atom(), term()}]) ->
          {gen_rpc_test_node:t(), gen_rpc_test_node:t(), valve()}.
restart_with_valve(Config, ClientSettings, ServerSettings) ->
    Server = restart_server(Config, ServerSettings),
    Valve = start_valve(port(Config, Server)),
    {restart_client(Config, Server, valve_port(Valve), ClientSettings), Server, Valve}.

restart_server(Config, Settings) ->
    #{pair := {_, Server0}, server := Cert} = proplists:get_value(flow, Config),
    Server = gen_rpc_test_node:restart_app(
               Server0, Settings ++ case transport(Config) of
                                        tcp -> [];
                                        ssl -> [{ssl_server_port, 0},
                                                {ssl_server_options,
                                                 gen_rpc_test_certs:options(Cert)}]
                                    end),
    ok = gen_rpc_test_events:clear(Server),
    Server.

restart_client(Config, #{node := Node}, Port, Settings) ->
    #{pair := {Client0, _}, client := Cert, other := #{node := Other, port := OtherPort}} =
        proplists:get_value(flow, Config),
    Transport = transport(Config),
    Ways = {client_config_per_node, {internal, #{Node => {Transport, Port},
                                                 Other => {tcp, OtherPort}}}},
    Client = gen_rpc_test_node:restart_app(
               Client0, Settings ++ [Ways | case Transport of
                                                tcp -> [];
                                                ssl -> [{ssl_client_options,
                                                         gen_rpc_test_certs:options(Cert)}]
                                            end]),
    ok = gen_rpc_test_events:clear(Client),
    Client.

transport(Config) ->
    proplists:get_value(transport, Config, tcp).

port(Config, Server) ->
    case transport(Config) of
        tcp -> maps:get(port, Server);
        ssl -> maps:get(ssl_port, Server)
    end.

%% For end_per_testcase: nothing is left, nothing has crashed, and nobody hangs at a gate. What a
%% case that has failed was about is nothing to the next one.
-spec finish([{atom(), term()}]) -> ok | {fail, term()}.
finish(Config) ->
    #{pair := {_, Server} = Pair, nodes := Nodes} = proplists:get_value(flow, Config),
    ok = call(Server, ?MODULE, open_gate, []),
    case proplists:get_value(tc_status, Config) of
        ok ->
            gen_rpc_test_pair:finish(Pair);
        _Failed ->
            _ = gen_rpc_test_pair:finish(Pair),
            lists:foreach(fun({Node, Before}) -> call(Node, ?MODULE, kill_others, [Before]) end,
                          Nodes)
    end.

%% Those that were not there before; but not those that gen_rpc has if it runs.
-spec kill_others([pid()]) -> ok.
kill_others(Before) ->
    Ours = [Pid || Pid <- processes(), {dictionary, D} <- [process_info(Pid, dictionary)],
                   lists:keymember('$initial_call', 1, D)],
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, processes() -- ([self() | Before] ++ Ours)).

%%% Valve: a TCP proxy that passes on what it is told, and as slowly

%% In front of a port on loopback. Linked to its starter.
-spec start_valve(inet:port_number()) -> valve().
start_valve(Target) ->
    Starter = self(),
    Passed = atomics:new(2, []),
    Pid = spawn_link(
            fun() ->
                    {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | valve_options()]),
                    {ok, Number} = inet:port(Listening),
                    Starter ! {self(), Number},
                    Valve = self(),
                    _ = spawn_link(fun() -> accept(Listening, Valve) end),
                    valve(#{target => Target, passed => Passed, rates => [],
                            to_server => free, to_client => free})
            end),
    receive {Pid, Number} -> {Pid, Number, Passed} end.

-spec stop_valve(valve()) -> ok.
stop_valve({Pid, _, _}) ->
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

-spec valve_port(valve()) -> inet:port_number().
valve_port({_, Number, _}) ->
    Number.

%% From now on, for all connections. Nothing that is sent later passes before it holds.
-spec set(valve(), direction(), rate()) -> ok.
set(Valve, Direction, Rate) ->
    tell(Valve, {set, Direction, Rate}).

%% Only for those connections that there are.
-spec set_existing(valve(), direction(), rate()) -> ok.
set_existing(Valve, Direction, Rate) ->
    tell(Valve, {set_existing, Direction, Rate}).

%% Bytes, ever.
-spec passed(valve(), direction()) -> non_neg_integer().
passed({_, _, Passed}, Direction) ->
    atomics:get(Passed, index(Direction)).

index(to_server) -> 1;
index(to_client) -> 2.

valve_options() ->
    [binary, {active, false}, {nodelay, true}, {recbuf, ?BUFFER}, {sndbuf, ?BUFFER},
     {buffer, ?BUFFER}].

tell({Pid, _, _}, Command) ->
    Ref = make_ref(),
    Pid ! {self(), Ref, Command},
    receive {Ref, ok} -> ok end.

accept(Listening, Valve) ->
    {ok, Socket} = gen_tcp:accept(Listening),
    ok = gen_tcp:controlling_process(Socket, Valve),
    Valve ! {accepted, Socket},
    accept(Listening, Valve).

%% Each connection has a rate in each direction, which its pumps look at before they pass anything
%% on.
valve(#{target := Target, passed := Passed, rates := Rates} = State) ->
    receive
        {accepted, Client} ->
            {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, Target, valve_options()),
            New = atomics:new(2, []),
            _ = [begin
                     ok = put_rate(New, Direction, maps:get(Direction, State)),
                     Count = fun(Bytes) -> atomics:add(Passed, index(Direction), Bytes) end,
                     spawn_link(fun() -> pump(From, To, {New, index(Direction)}, Count) end)
                 end || {Direction, From, To} <- [{to_server, Client, Server},
                                                  {to_client, Server, Client}]],
            valve(State#{rates := [New | Rates]});
        {From, Ref, {Set, Direction, Rate}} ->
            _ = [ok = put_rate(Of, Direction, Rate) || Of <- Rates],
            From ! {Ref, ok},
            valve(case Set of
                      set -> State#{Direction := Rate};
                      set_existing -> State
                  end)
    end.

put_rate(Rates, Direction, shut) -> atomics:put(Rates, index(Direction), 0);
put_rate(Rates, Direction, free) -> atomics:put(Rates, index(Direction), -1);
put_rate(Rates, Direction, Rate) -> atomics:put(Rates, index(Direction), Rate).

%% The sockets are the valve's: so a pump that ends closes both.
pump(From, To, Rate, Count) ->
    case gen_tcp:recv(From, 0) of
        {ok, Data} -> pump_data(From, To, Rate, Data, Count);
        {error, _Closed} -> close([From, To])
    end.

pump_data(From, To, Rate, <<>>, Count) ->
    pump(From, To, Rate, Count);
pump_data(From, To, {Rates, Index} = Rate, Data, Count) ->
    case atomics:get(Rates, Index) of
        0 ->
            receive after ?STEP -> pump_data(From, To, Rate, Data, Count) end;
        -1 ->
            pass(From, To, Rate, Data, <<>>, Count);
        Step when Step >= byte_size(Data) ->
            receive after ?STEP -> pass(From, To, Rate, Data, <<>>, Count) end;
        Step ->
            <<Now:Step/binary, Later/binary>> = Data,
            receive after ?STEP -> pass(From, To, Rate, Now, Later, Count) end
    end.

pass(From, To, Rate, Now, Later, Count) ->
    case gen_tcp:send(To, Now) of
        ok ->
            ok = Count(byte_size(Now)),
            pump_data(From, To, Rate, Later, Count);
        {error, _Closed} ->
            close([From, To])
    end.

close(Sockets) ->
    lists:foreach(fun gen_tcp:close/1, Sockets).

%%% What a test runs on a node

%% N processes at once on the calling node, each with its number; their results in order.
-spec at_once(pos_integer(), fun((pos_integer()) -> term())) -> [term()].
at_once(N, Fun) ->
    gen_rpc_test_task:results(gen_rpc_test_task:start(N, Fun)).

%% What the node that is reached from the first one calls itself.
-spec echo(gen_rpc_test_node:t(), gen_rpc:dest()) -> term().
echo(From, Dest) ->
    echo(From, Dest, ?LONG).

-spec echo(gen_rpc_test_node:t(), gen_rpc:dest(), timeout()) -> term().
echo(From, Dest, Timeout) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], Timeout]).

%% The port of a connection, as it is called there: another one if the connection was made anew.
-spec port_of(gen_rpc_test_node:t(), gen_rpc:dest()) -> term().
port_of(From, Dest) ->
    call(From, gen_rpc_registry, lookup, [Dest]).

-spec connection(gen_rpc_test_node:t(), gen_rpc:dest()) -> gen_rpc_port:info().
connection(From, Dest) ->
    #{} = gen_rpc_test_node:connection(From, Dest).

-spec counter(gen_rpc_test_node:t(), atom()) -> non_neg_integer().
counter(Node, Name) ->
    maps:get(Name, call(Node, gen_rpc_counters, get, [])).

%% What is in the mailbox of the caller.
-spec mailbox() -> [term()].
mailbox() ->
    {messages, Messages} = process_info(self(), messages),
    Messages.

%% Requests that a server has, and has not yet replied to.
-spec served(gen_rpc_test_node:t()) -> non_neg_integer().
served(Server) ->
    lists:sum([Served || #{served := Served} <- gen_rpc_test_node:acceptors(Server)]).

%%% Gauge: how many are at work at once; and a gate at which they can be held up

-spec start_gauge() -> ok.
start_gauge() ->
    persistent_term:put(?GAUGE, atomics:new(3, [])).

-spec gauge() -> #{now := integer(), most := integer(), begun := integer()}.
gauge() ->
    Gauge = persistent_term:get(?GAUGE),
    #{now => atomics:get(Gauge, 1), most => atomics:get(Gauge, 2), begun => atomics:get(Gauge, 3)}.

measured(Fun) ->
    Gauge = persistent_term:get(?GAUGE),
    ok = atomics:add(Gauge, 3, 1),
    ok = raise(Gauge, atomics:add_get(Gauge, 1, 1)),
    Result = Fun(),
    ok = atomics:sub(Gauge, 1, 1),
    Result.

raise(Gauge, Now) ->
    case atomics:get(Gauge, 2) of
        Most when Most >= Now -> ok;
        Most ->
            _ = atomics:compare_exchange(Gauge, 2, Most, Now),
            raise(Gauge, Now)
    end.

%% Returns when the gate is open.
-spec held(Term) -> Term.
held(Term) ->
    measured(fun() -> through_gate(), Term end).

-spec held(Term, term()) -> Term.
held(Term, _Luggage) ->
    held(Term).

through_gate() ->
    Monitor = monitor(process, ?GATE),
    receive {'DOWN', Monitor, process, _, _} -> ok end.

%% Lets others run meanwhile, and notes the term.
-spec brief(term()) -> term().
brief(Term) ->
    measured(fun() ->
                     _ = [erlang:yield() || _ <- lists:seq(1, 20)],
                     gen_rpc_test_target:count(Term)
             end).

-spec brief(term(), term()) -> term().
brief(Term, _Luggage) ->
    brief(Term).

-spec close_gate() -> ok.
close_gate() ->
    ok = open_gate(),
    Self = self(),
    Gate = spawn(fun() ->
                         true = register(?GATE, self()),
                         Self ! {self(), closed},
                         receive open -> ok end
                 end),
    receive {Gate, closed} -> ok end.

%% Also if it is open.
-spec open_gate() -> ok.
open_gate() ->
    case whereis(?GATE) of
        undefined ->
            ok;
        Gate ->
            Monitor = monitor(process, Gate),
            Gate ! open,
            receive {'DOWN', Monitor, process, Gate, _} -> ok end
    end.

%%% Ledger: what has run, in order; gen_rpc_test_target's counter with luggage

-spec note(term(), term()) -> ok.
note(Term, _Luggage) ->
    gen_rpc_test_target:count(Term).

-spec noted(gen_rpc_test_node:t()) -> [term()].
noted(Node) ->
    call(Node, gen_rpc_test_target, counted, []).

%% What is missing, and what is there that should not be, or not so often.
-spec compare(Expected :: [term()], [term()]) -> {Missing :: [term()], TooMuch :: [term()]}.
compare(Expected, Noted) ->
    {lists:sort(Expected) -- lists:sort(Noted), lists:sort(Noted) -- lists:sort(Expected)}.

%% Begins with an empty one.
-spec forget(gen_rpc_test_node:t()) -> ok.
forget(Node) ->
    call(Node, gen_rpc_test_target, start_counter, []).

%%% Memory: by how much it grows at most, and processes

-spec watch(gen_rpc_test_node:t()) -> ok.
watch(Node) ->
    call(Node, ?MODULE, start_watch, []).

-spec watched(gen_rpc_test_node:t()) ->
          #{rss := integer(), binary := integer(), processes := integer()}.
watched(Node) ->
    call(Node, ?MODULE, stop_watch, []).

-spec start_watch() -> ok.
start_watch() ->
    ok = forget_watch(),
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    Self = self(),
    Pid = spawn_opt(fun() ->
                            true = register(?WATCH, self()),
                            Before = look(),
                            Self ! {self(), ready},
                            watch_until_asked(Before, Before)
                    end, [{priority, high}]),
    receive {Pid, ready} -> ok end.

%% That of a case that has failed.
forget_watch() ->
    case whereis(?WATCH) of
        undefined -> ok;
        Watch -> exit(Watch, kill), wait(fun() -> whereis(?WATCH) =:= undefined end)
    end.

watch_until_asked(Before, Most0) ->
    Most = maps:map(fun(Key, Value) -> max(Value, maps:get(Key, Most0)) end, look()),
    receive
        {From, Ref} ->
            From ! {Ref, maps:map(fun(Key, Value) -> Value - maps:get(Key, Before) end, Most)}
    after ?LOOK ->
        watch_until_asked(Before, Most)
    end.

-spec stop_watch() -> #{rss := integer(), binary := integer(), processes := integer()}.
stop_watch() ->
    Ref = make_ref(),
    ?WATCH ! {self(), Ref},
    receive {Ref, Grown} -> ok = wait(fun() -> whereis(?WATCH) =:= undefined end), Grown end.

look() ->
    #{rss => gen_rpc_test_node:system_memory(),
      binary => gen_rpc_test_node:memory(binary),
      processes => erlang:system_info(process_count)}.

%% Workers on the calling node.
-spec worker_pids() -> [pid()].
worker_pids() ->
    [Pid || Pid <- processes(),
            {dictionary, Dictionary} <- [process_info(Pid, dictionary)],
            {initial_call, Initial} <- [process_info(Pid, initial_call)],
            not lists:keymember('$initial_call', 1, Dictionary),
            element(1, Initial) =:= gen_rpc_worker].
