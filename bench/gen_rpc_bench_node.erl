%% SPDX-License-Identifier: Apache-2.0
%% The nodes of the benchmark: OS processes of their own with default settings, connected by
%% distribution for erpc. They are controlled over standard input and end with it.
-module(gen_rpc_bench_node).

-export([with_pair/3, call/4]).

-type t() :: #{peer := pid(), node := node()}.
-type how() :: tcp
             | {tcp, Servers :: pos_integer()}
             | ssl
             | ssl_full % TLS whose sessions are not resumed
             | {timed, tcp | ssl | ssl_full}. % with the driver of callback_times.c
-type pair() :: #{client := t(),
                  server := t(),      % the first one
                  servers := [t(), ...],
                  tls := gen_rpc_bench_tls:t() | none}.
-export_type([t/0, how/0, pair/0]).

%% Longer than any one measurement.
-define(CALL_TIMEOUT, 120000).

%% Runs a function with a client and the servers that it knows, and stops them, whatever happens.
%% With TLS they know each other by OTP's ssl, too.
-spec with_pair(how(), Suite :: string(), fun((pair()) -> T)) -> T.
with_pair({tcp, Servers}, Suite, Function) ->
    with_nodes(tcp, Servers, paths(), Suite, Function);
with_pair({timed, How}, Suite, Function) ->
    [_Usual, Bench] = paths(),
    with_nodes(How, 1, [filename:join(Bench, "timed/gen_rpc/ebin"), Bench], Suite, Function);
with_pair(How, Suite, Function) ->
    with_nodes(How, 1, paths(), Suite, Function).

paths() ->
    [filename:dirname(code:which(M)) || M <- [gen_rpc, ?MODULE]].

with_nodes(How, Servers, Paths, Suite, Function) ->
    Cookie = binary_to_list(binary:encode_hex(rand:bytes(16))),
    Args = ["-setcookie", Cookie, "-connect_all", "false", "-kernel", "logger_level", "error",
            "-pa" | Paths],
    with_started(lists:duplicate(Servers, "server") ++ ["client"], Args, [],
                 fun([Client | [Server | _] = Others]) ->
                         with_tls(How, Suite, Function, #{client => Client, server => Server,
                                                          servers => Others, tls => none})
                 end).

%% The one started last comes first.
with_started([Role | Roles], Args, Nodes, Function) ->
    Node = start(Role, Args),
    try with_started(Roles, Args, [Node | Nodes], Function)
    after stop(Node)
    end;
with_started([], _Args, Nodes, Function) ->
    Function(Nodes).

with_tls(tcp, _Suite, Function, Pair) ->
    ok = connect_tcp(Pair),
    Function(Pair);
with_tls(How, Suite, Function, #{client := Client, server := Server} = Pair) ->
    Tls = gen_rpc_bench_tls:make(Suite, [maps:get(node, Node) || Node <- [Client, Server]]),
    try
        ok = connect_ssl(How =:= ssl, Pair#{tls := Tls}),
        Function(Pair#{tls := Tls})
    after
        gen_rpc_bench_tls:remove(Tls)
    end.

%% Calls a function on a node, neither over gen_rpc nor over distribution.
-spec call(t(), module(), atom(), [term()]) -> term().
call(#{peer := Peer}, M, F, A) ->
    peer:call(Peer, M, F, A, ?CALL_TIMEOUT).

start(Role, Args) ->
    Name = lists:concat(["gen_rpc_bench_", Role, "_", os:getpid(), "_",
                         erlang:unique_integer([positive])]),
    {ok, Peer, Node} = peer:start_link(#{name => Name, host => "127.0.0.1", longnames => true,
                                         connection => standard_io, args => Args}),
    #{peer => Peer, node => Node}.

connect_tcp(#{servers := Servers} = Pair) ->
    Targets = [begin
                   ok = start_gen_rpc(Server, [{tcp_server_port, 0}]),
                   {Node, {tcp, call(Server, gen_rpc_listener, port_number, [])}}
               end || #{node := Node} = Server <- Servers],
    connect(Pair, Targets, []).

connect_ssl(Resume, #{client := Client, server := #{node := Node} = Server, tls := Tls} = Pair) ->
    [ClientOptions, ServerOptions] = [gen_rpc_bench_tls:options(Tls, maps:get(node, Of))
                                      || Of <- [Client, Server]],
    ok = start_gen_rpc(Server, [{tcp_server_port, false}, {ssl_server_port, 0},
                                {ssl_server_options, ServerOptions}]),
    Port = call(Server, gen_rpc_listener, port_number, [ssl]),
    ok = connect(Pair, [{Node, {ssl, Port}}],
                 [{ssl_client_options, [{session_tickets, Resume} | ClientOptions]}]),
    ReferencePort = call(Server, gen_rpc_bench_ssl, listen, [ServerOptions]),
    call(Client, gen_rpc_bench_ssl, prepare, [ReferencePort, Resume, ClientOptions]).

connect(#{client := Client}, Targets, Env) ->
    ok = start_gen_rpc(Client, [{tcp_server_port, false},
                                {client_config_per_node, {internal, maps:from_list(Targets)}}
                               | Env]),
    lists:foreach(fun({Node, _}) -> true = call(Client, net_kernel, connect_node, [Node]) end,
                  Targets).

start_gen_rpc(Node, Env) ->
    ok = call(Node, application, set_env, [[{gen_rpc, Env}]]),
    {ok, _} = call(Node, application, ensure_all_started, [gen_rpc]),
    ok.

stop(#{peer := Peer}) ->
    unlink(Peer),
    try peer:stop(Peer) catch exit:_ -> ok end.
