%% SPDX-License-Identifier: Apache-2.0
%% Real nodes for the suites: each is an OS process of its own, controlled over its standard input
%% and output, so that no test depends on the distribution. A node listens on a free port.
-module(gen_rpc_test_node).

-export([start/1, start/2, start_pair/0, start_pair/2, stop/1]).
-export([call/4, call/5, rpc/4, rpc/5, env/1, os_pid/1, free_port/0, wait/1, wait/2]).
-export([connection/2, local_connection/1]).

-type t() :: #{peer := pid(), node := node(), port := inet:port_number()}.
-export_type([t/0]).

-define(COOKIE, "gen_rpc_test").
-define(CALL_TIMEOUT, 60000).

%% Starts a node that runs gen_rpc with these settings; `args' and `cookie' are not settings but
%% more arguments of erl and another cookie.
-spec start([{atom(), term()}]) -> t().
start(Settings) ->
    start(peer:random_name(), Settings).

-spec start(string(), [{atom(), term()}]) -> t().
start(Name, Settings0) ->
    {Options, Settings1} = lists:partition(fun({K, _}) -> K =:= args orelse K =:= cookie end,
                                           Settings0),
    Settings = case lists:keymember(tcp_server_port, 1, Settings1) of
                   true -> Settings1;
                   false -> [{tcp_server_port, 0} | Settings1]
               end,
    Cookie = proplists:get_value(cookie, Options, ?COOKIE),
    {ok, Peer, Node} =
        peer:start_link(#{name => Name, host => "127.0.0.1", longnames => true,
                          connection => standard_io,
                          args => ["-setcookie", Cookie, "-pa" | code:get_path()] ++
                              proplists:get_value(args, Options, [])}),
    T = #{peer => Peer, node => Node, port => 0},
    ok = call(T, application, load, [gen_rpc]),
    lists:foreach(fun({K, V}) -> ok = call(T, application, set_env, [gen_rpc, K, V]) end, Settings),
    {ok, _} = call(T, application, ensure_all_started, [gen_rpc]),
    case lists:keyfind(tcp_server_port, 1, Settings) of
        {_, false} -> T;
        _ -> T#{port := call(T, gen_rpc_listener, port_number, [])}
    end.

%% A client that knows the way to a server: {Client, Server}.
-spec start_pair() -> {t(), t()}.
start_pair() ->
    start_pair([], []).

-spec start_pair([{atom(), term()}], [{atom(), term()}]) -> {t(), t()}.
start_pair(ClientSettings, ServerSettings) ->
    Server = start(ServerSettings),
    {start([env([Server]) | ClientSettings]), Server}.

%% Stops a node, also one that hangs.
-spec stop(t()) -> ok.
stop(#{peer := Peer}) ->
    unlink(Peer),
    try peer:stop(Peer) catch exit:_ -> ok end,
    ok.

%% Calls a function on the node, not over gen_rpc.
-spec call(t(), module(), atom(), [term()]) -> term().
call(T, M, F, A) ->
    call(T, M, F, A, ?CALL_TIMEOUT).

-spec call(t(), module(), atom(), [term()], timeout()) -> term().
call(#{peer := Peer}, M, F, A, Timeout) ->
    peer:call(Peer, M, F, A, Timeout).

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
    Map = maps:from_list([{Node, {tcp, Port}} || #{node := Node, port := Port} <- Nodes]),
    {client_config_per_node, {internal, Map}}.

-spec os_pid(t()) -> string().
os_pid(T) ->
    call(T, os, getpid, []).

-spec free_port() -> inet:port_number().
free_port() ->
    {ok, S} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    {ok, Port} = inet:port(S),
    ok = gen_tcp:close(S),
    Port.

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
