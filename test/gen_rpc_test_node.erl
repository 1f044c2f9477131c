%% SPDX-License-Identifier: Apache-2.0
%% Real nodes for the suites: each is an OS process of its own, controlled over its standard input
%% and output, so that no test depends on the distribution. A node listens on a free port, unless its
%% name says which one.
-module(gen_rpc_test_node).

-export([start/1, start/2, start_pair/0, start_pair/2, keep/1, stop/1]).
-export([restart_app/2, stop_app/1, kill/1, freeze/1, thaw/1]).
-export([call/4, call/5, run/2, rpc/4, rpc/5, env/1, env/2, os_pid/1, cookie/1]).
-export([free_port/0, wait/1, wait/2]).
-export([connection/2, local_connection/1, acceptors/1, local_acceptors/0, local_acceptor_ports/0,
         half_open/1, half_open/2]).
-export([resources/1, expect_resources/2, local_resources/0, leftovers/1, local_leftovers/0,
         driver_memory/1, local_driver_memory/0, memory/1, system_memory/0]).

-type t() :: #{peer := pid(), node := node(), port := inet:port_number(),
               ssl_port => inet:port_number()}.
-export_type([t/0]).

-define(COOKIE, "gen_rpc_test").

%% Longer than a case may take, ms: its timetrap ends it, which is longer itself under a sanitizer.
-define(CALL_TIMEOUT, 300000).

%% A busy machine, or a sanitizer, makes a node slow to start, ms.
-define(BOOT_TIMEOUT, 60000).

-define(OPTIONS, [args, env, host, cookie, exec]).

%% Starts a node that runs gen_rpc with these settings; `args', `env', `host', `cookie' and `exec'
%% are not settings but more arguments of erl, more of its environment, another host in its name,
%% another cookie, and another way to run erl than peer's.
-spec start([{atom(), term()}]) -> t().
start(Settings) ->
    start(peer:random_name(), Settings).

-spec start(string(), [{atom(), term()}]) -> t().
start(Name, Settings0) ->
    {Options, Settings} = lists:partition(fun({K, _}) -> lists:member(K, ?OPTIONS) end, Settings0),
    Cookie = proplists:get_value(cookie, Options, ?COOKIE),
    How = #{name => Name, host => proplists:get_value(host, Options, "127.0.0.1"),
            longnames => true, connection => standard_io, wait_boot => ?BOOT_TIMEOUT,
            env => proplists:get_value(env, Options, []),
            args => ["-setcookie", Cookie, "-pa" | code:get_path()] ++
                proplists:get_value(args, Options, [])},
    Exec = maps:from_list([Option || {exec, _} = Option <- Options]),
    {ok, Peer, Node} = peer:start_link(maps:merge(How, Exec)),
    T = #{peer => Peer, node => Node, port => 0},
    ok = call(T, application, load, [gen_rpc]),
    start_app(T, Settings).

start_app(T, Settings0) ->
    Settings = lists:ukeymerge(1, lists:ukeysort(1, Settings0),
                               [{tcp_server_port, 0}
                                || not lists:keymember(port_discovery, 1, Settings0)]),
    lists:foreach(fun({K, V}) -> ok = call(T, application, set_env, [gen_rpc, K, V]) end, Settings),
    {ok, _} = call(T, application, ensure_all_started, [gen_rpc]),
    T#{port := listening_port(T, gen_rpc_listener, []),
       ssl_port => listening_port(T, gen_rpc_listener_ssl, [ssl])}.

listening_port(T, Listener, Of) ->
    case call(T, erlang, whereis, [Listener]) of
        undefined -> 0;
        _ -> call(T, gen_rpc_listener, port_number, Of)
    end.

%% Stops gen_rpc on the node, if it runs, and starts it with these settings and no others.
-spec restart_app(t(), [{atom(), term()}]) -> t().
restart_app(T, Settings) ->
    ok = stop_app(T),
    lists:foreach(fun({K, _}) -> ok = call(T, application, unset_env, [gen_rpc, K]) end,
                  call(T, application, get_all_env, [gen_rpc])),
    start_app(T, Settings).

-spec stop_app(t()) -> ok.
stop_app(T) ->
    case call(T, application, stop, [gen_rpc]) of
        ok -> ok;
        {error, {not_started, gen_rpc}} -> ok
    end.

%% A client that knows the way to a server: {Client, Server}.
-spec start_pair() -> {t(), t()}.
start_pair() ->
    start_pair([], []).

-spec start_pair([{atom(), term()}], [{atom(), term()}]) -> {t(), t()}.
start_pair(ClientSettings, ServerSettings) ->
    Server = start(ServerSettings),
    {start([env([Server]) | ClientSettings]), Server}.

%% Lets a node outlive the process that started it: what init_per_suite starts, end_per_suite stops.
-spec keep(t()) -> t().
keep(#{peer := Peer} = T) ->
    true = unlink(Peer),
    T.

%% Stops a node, also one that hangs.
-spec stop(t()) -> ok.
stop(#{peer := Peer}) ->
    unlink(Peer),
    try peer:stop(Peer) catch exit:_ -> ok end,
    ok.

%% Kills the node's OS process, and waits until it is gone.
-spec kill(t()) -> ok.
kill(#{peer := Peer} = T) ->
    unlink(Peer),
    Monitor = monitor(process, Peer),
    signal("KILL", os_pid(T)),
    receive {'DOWN', Monitor, process, Peer, _} -> ok end.

%% Stops the node's OS process as a debugger does: its kernel goes on taking connections and data.
%% The result thaws it; thaw/1 can't ask a frozen node for its process id. It thaws by itself when
%% the caller ends, since a frozen process would outlive the tests.
-spec freeze(t()) -> OsPid :: string().
freeze(T) ->
    OsPid = os_pid(T),
    Freezer = self(),
    _ = spawn(fun() ->
                      Monitor = monitor(process, Freezer),
                      receive {'DOWN', Monitor, process, Freezer, _} -> thaw(OsPid) end
              end),
    signal("STOP", OsPid),
    wait(fun() -> is_stopped(OsPid) end),
    OsPid.

is_stopped(OsPid) ->
    {ok, Stat} = file:read_file("/proc/" ++ OsPid ++ "/stat"),
    [_, <<" ", State, _/binary>>] = binary:split(Stat, <<")">>),
    State =:= $T.

-spec thaw(OsPid :: string()) -> ok.
thaw(OsPid) ->
    signal("CONT", OsPid).

%% To a node that is gone already, too.
signal(Name, OsPid) ->
    _ = os:cmd("kill -" ++ Name ++ " " ++ OsPid),
    ok.

%% Calls a function on the node, not over gen_rpc.
-spec call(t(), module(), atom(), [term()]) -> term().
call(T, M, F, A) ->
    call(T, M, F, A, ?CALL_TIMEOUT).

-spec call(t(), module(), atom(), [term()], timeout()) -> term().
call(#{peer := Peer}, M, F, A, Timeout) ->
    peer:call(Peer, M, F, A, Timeout).

%% Runs a part of a test on the node, in a process of its own.
-spec run(t(), fun(() -> Result)) -> Result.
run(T, Fun) ->
    call(T, erlang, apply, [Fun, []]).

%% From the first node to the second over gen_rpc.
-spec rpc(t(), t(), {module(), atom()}, [term()]) -> term().
rpc(From, To, {M, F}, A) ->
    rpc(From, To, {M, F}, A, 15000).

-spec rpc(t(), t(), {module(), atom()}, [term()], timeout()) -> term().
rpc(From, #{node := Node}, {M, F}, A, Timeout) ->
    call(From, gen_rpc, call, [Node, M, F, A, Timeout]).

%% The setting that tells a client the way to these nodes.
-spec env([t()]) -> {atom(), term()}.
env(Nodes) ->
    env(tcp, Nodes).

-spec env(tcp | ssl, [t()]) -> {atom(), term()}.
env(Driver, Nodes) ->
    Key = case Driver of tcp -> port; ssl -> ssl_port end,
    Map = maps:from_list([{maps:get(node, T), {Driver, maps:get(Key, T)}} || T <- Nodes]),
    {client_config_per_node, {internal, Map}}.

-spec os_pid(t()) -> string().
os_pid(T) ->
    call(T, os, getpid, []).

%% As a peer must know it, if no setting says another one.
-spec cookie(t()) -> binary().
cookie(T) ->
    atom_to_binary(call(T, erlang, get_cookie, [])).

%% Below those that Linux takes for outgoing connections, one of which could take it before its user.
-spec free_port() -> inet:port_number().
free_port() ->
    Number = 10000 + rand:uniform(22000),
    case gen_tcp:listen(Number, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
        {ok, S} -> ok = gen_tcp:close(S), Number;
        {error, eaddrinuse} -> free_port()
    end.

%% What the driver on the first node knows of its connection to a destination.
-spec connection(t(), gen_rpc:dest()) -> gen_rpc_port:info() | none.
connection(T, Dest) ->
    call(T, ?MODULE, local_connection, [Dest]).

%% The part of connection/2 that runs on the node: a port means nothing on another one.
-spec local_connection(gen_rpc:dest()) -> gen_rpc_port:info() | none.
local_connection(Dest) ->
    case gen_rpc_registry:lookup(Dest) of
        {ok, Port} -> gen_rpc_port:info(Port);
        none -> none
    end.

%% What the driver on the node knows of its incoming connections.
-spec acceptors(t()) -> [gen_rpc_port:info()].
acceptors(T) ->
    call(T, ?MODULE, local_acceptors, []).

-spec local_acceptors() -> [gen_rpc_port:info()].
local_acceptors() ->
    [Info || #{} = Info <- [gen_rpc_port:info(Port) || Port <- local_acceptor_ports()]].

-spec local_acceptor_ports() -> [port()].
local_acceptor_ports() ->
    Owners = try
                 [Pid || {_, Pid, _, _} <- supervisor:which_children(gen_rpc_acceptor_sup)]
             catch
                 exit:{noproc, _} -> [] % restarting, or stopped
             end,
    [Port || Port <- our_ports(),
             {connected, Owner} <- [erlang:port_info(Port, connected)],
             lists:member(Owner, Owners)].

%% How many incoming connections are not authenticated: all that the listener owns but its own port.
-spec half_open(t()) -> non_neg_integer().
half_open(T) ->
    half_open(T, gen_rpc_listener).

-spec half_open(t(), gen_rpc_listener | gen_rpc_listener_ssl) -> non_neg_integer().
half_open(T, Listener) ->
    run(T, fun() ->
                   {links, Links} = process_info(whereis(Listener), links),
                   length([Port || Port <- Links, is_port(Port)]) - 1
           end).

%% What a connection takes of the node: all of these are as before when it is gone.
-spec resources(t()) -> #{atom() => non_neg_integer()}.
resources(T) ->
    call(T, ?MODULE, local_resources, []).

%% For end_per_testcase: waits until they are.
-spec expect_resources(t(), Resources) -> ok | {fail, {Resources, Resources}}
              when Resources :: #{atom() => non_neg_integer()}.
expect_resources(T, Before) ->
    try
        wait(fun() -> resources(T) =:= Before end)
    catch
        error:condition_never_held -> {fail, {Before, resources(T)}}
    end.

-spec local_resources() -> #{atom() => non_neg_integer()}.
local_resources() ->
    {ok, Fds} = file:list_dir("/proc/self/fd"),
    #{ports => length(erlang:ports()),
      fds => length(Fds),
      processes => length(erlang:processes()),
      registry => ets:info(gen_rpc_registry, size),
      ets => length(ets:all())}.

%% Bytes that the driver has allocated on the node, its binaries apart.
-spec driver_memory(t()) -> non_neg_integer().
driver_memory(T) ->
    call(T, ?MODULE, local_driver_memory, []).

-spec local_driver_memory() -> non_neg_integer().
local_driver_memory() ->
    lists:sum([element(2, Value) || {instance, _, Kinds} <- driver_allocators(),
                                    {Kind, Carriers} <- Kinds,
                                    lists:member(Kind, [mbcs, mbcs_pool, sbcs]),
                                    {blocks, Blocks} <- Carriers,
                                    {driver_alloc, Values} <- Blocks,
                                    Value <- Values, element(1, Value) =:= size]).

%% None under test/run_asan, where the VM uses malloc, and the sanitizer looks for what is left over.
driver_allocators() ->
    case erlang:system_info({allocator_sizes, driver_alloc}) of
        false -> [];
        Sizes -> Sizes
    end.

%% Bytes of memory that the VM has of a kind. Under test/run_asan it does not count: then 0, and it is
%% the sanitizer's to look after memory.
-spec memory(total | binary) -> non_neg_integer().
memory(Kind) ->
    try
        erlang:memory(Kind)
    catch
        error:notsup -> 0
    end.

%% Bytes that the system has given, files apart. As above under test/run_asan: the sanitizer keeps what
%% is freed.
-spec system_memory() -> non_neg_integer().
system_memory() ->
    case memory(total) of
        0 -> 0;
        _ ->
            {ok, File} = file:open("/proc/self/statm", [read, raw, binary]),
            {ok, Line} = file:read(File, 200),
            ok = file:close(File),
            [_, Resident, Shared | _] = binary:split(Line, <<" ">>, [global]),
            4096 * (binary_to_integer(Resident) - binary_to_integer(Shared))
    end.

%% What a stopped gen_rpc has left on the node: [] if all is well.
-spec leftovers(t()) -> [term()].
leftovers(T) ->
    call(T, ?MODULE, local_leftovers, []).

-spec local_leftovers() -> [term()].
local_leftovers() ->
    Processes = [Name || Name <- registered(), lists:prefix("gen_rpc_", atom_to_list(Name)),
                         not lists:prefix("gen_rpc_test_", atom_to_list(Name))],
    [{port, Port} || Port <- our_ports()] ++ Processes ++
        [gen_rpc_registry || ets:whereis(gen_rpc_registry) =/= undefined].

our_ports() ->
    [Port || Port <- erlang:ports(),
             {name, "gen_rpc_drv" ++ _} <- [erlang:port_info(Port, name)]].

%% Waits until a condition holds; fails after ten seconds.
-spec wait(fun(() -> boolean())) -> ok.
wait(Condition) ->
    wait(Condition, 10000).

-spec wait(fun(() -> boolean()), non_neg_integer()) -> ok.
wait(Condition, Left) ->
    case Condition() of
        true -> ok;
        false when Left > 0 -> timer:sleep(20), wait(Condition, Left - 20);
        false -> error(condition_never_held)
    end.
