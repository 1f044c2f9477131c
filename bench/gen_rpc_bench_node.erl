%% SPDX-License-Identifier: Apache-2.0
%% The two nodes of the benchmark: OS processes of their own with default settings, connected by
%% distribution for erpc. They are controlled over standard input and end with it.
-module(gen_rpc_bench_node).

-export([with_pair/1, call/4]).

-type t() :: #{peer := pid(), node := node()}.
-export_type([t/0]).

%% Longer than any one measurement.
-define(CALL_TIMEOUT, 120000).

%% Runs a function with a client and the server that it knows, and stops them, whatever happens.
-spec with_pair(fun((Client :: t(), Server :: t()) -> T)) -> T.
with_pair(Function) ->
    Cookie = binary_to_list(binary:encode_hex(rand:bytes(16))),
    Server = start("server", Cookie),
    try
        Client = start("client", Cookie),
        try
            ok = connect(Client, Server),
            Function(Client, Server)
        after
            stop(Client)
        end
    after
        stop(Server)
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

connect(Client, #{node := ServerNode} = Server) ->
    ok = set_env(Server, [{tcp_server_port, 0}]),
    {ok, _} = call(Server, application, ensure_all_started, [gen_rpc]),
    Port = call(Server, gen_rpc_listener, port_number, []),
    ok = set_env(Client, [{tcp_server_port, false},
                          {client_config_per_node, {internal, #{ServerNode => Port}}}]),
    {ok, _} = call(Client, application, ensure_all_started, [gen_rpc]),
    true = call(Client, net_kernel, connect_node, [ServerNode]),
    ok.

set_env(Node, Env) ->
    call(Node, application, set_env, [[{gen_rpc, Env}]]).

stop(#{peer := Peer}) ->
    unlink(Peer),
    try peer:stop(Peer) catch exit:_ -> ok end.
