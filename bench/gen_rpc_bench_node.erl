%% SPDX-License-Identifier: Apache-2.0
%% The two nodes of the benchmark: OS processes of their own with default settings, connected by
%% distribution for erpc. They are controlled over standard input and end with it.
-module(gen_rpc_bench_node).

-export([with_pair/3, call/4]).

-type t() :: #{peer := pid(), node := node()}.
-type how() :: tcp | ssl | ssl_full. % ssl_full: TLS whose sessions are not resumed
-type pair() :: #{client := t(), server := t(), tls := gen_rpc_bench_tls:t() | none}.
-export_type([t/0, how/0, pair/0]).

%% Longer than any one measurement.
-define(CALL_TIMEOUT, 120000).

%% Runs a function with a client and the server that it knows, and stops them, whatever happens.
%% With TLS they know each other by OTP's ssl, too.
-spec with_pair(how(), Suite :: string(), fun((pair()) -> T)) -> T.
with_pair(How, Suite, Function) ->
    Cookie = binary_to_list(binary:encode_hex(rand:bytes(16))),
    Server = start("server", Cookie),
    try
        Client = start("client", Cookie),
        try
            with_tls(How, Suite, Function, #{client => Client, server => Server, tls => none})
        after
            stop(Client)
        end
    after
        stop(Server)
    end.

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

start(Role, Cookie) ->
    Name = lists:concat(["gen_rpc_bench_", Role, "_", os:getpid(), "_",
                         erlang:unique_integer([positive])]),
    Paths = [filename:dirname(code:which(M)) || M <- [gen_rpc, ?MODULE]],
    {ok, Peer, Node} = peer:start_link(#{name => Name, host => "127.0.0.1", longnames => true,
                                         connection => standard_io,
                                         args => ["-setcookie", Cookie,
                                                  "-kernel", "logger_level", "error",
                                                  "-pa" | Paths]}),
    #{peer => Peer, node => Node}.

connect_tcp(#{server := Server} = Pair) ->
    ok = start_gen_rpc(Server, [{tcp_server_port, 0}]),
    Port = call(Server, gen_rpc_listener, port_number, []),
    connect(Pair, {tcp, Port}, []).

connect_ssl(Resume, #{client := Client, server := Server, tls := Tls} = Pair) ->
    [ClientOptions, ServerOptions] = [gen_rpc_bench_tls:options(Tls, maps:get(node, Node))
                                      || Node <- [Client, Server]],
    ok = start_gen_rpc(Server, [{tcp_server_port, false}, {ssl_server_port, 0},
                                {ssl_server_options, ServerOptions}]),
    Port = call(Server, gen_rpc_listener, port_number, [ssl]),
    ok = connect(Pair, {ssl, Port},
                 [{ssl_client_options, [{session_tickets, Resume} | ClientOptions]}]),
    ReferencePort = call(Server, gen_rpc_bench_ssl, listen, [ServerOptions]),
    call(Client, gen_rpc_bench_ssl, prepare, [ReferencePort, Resume, ClientOptions]).

connect(#{client := Client, server := #{node := ServerNode}}, Target, Env) ->
    ok = start_gen_rpc(Client, [{tcp_server_port, false},
                                {client_config_per_node, {internal, #{ServerNode => Target}}}
                               | Env]),
    true = call(Client, net_kernel, connect_node, [ServerNode]),
    ok.

start_gen_rpc(Node, Env) ->
    ok = call(Node, application, set_env, [[{gen_rpc, Env}]]),
    {ok, _} = call(Node, application, ensure_all_started, [gen_rpc]),
    ok.

stop(#{peer := Peer}) ->
    unlink(Peer),
    try peer:stop(Peer) catch exit:_ -> ok end.
