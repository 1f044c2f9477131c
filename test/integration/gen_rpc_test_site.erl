%% SPDX-License-Identifier: Apache-2.0
%% A real node in a network namespace of its own. It has no distribution: the tests talk to it over
%% its standard input and output, which no fault of the network touches.
-module(gen_rpc_test_site).

-export([start/1, start/2, stop/1, kill/1, again/1, freeze/1, thaw/1]).
-export([node/1, call/4, run/2, rpc/3, node_name/1, port/0, wait/1]).

-type t() :: #{site := gen_rpc_test_net:site(),
               node := node(),
               at := gen_rpc_test_node:t(),
               os_pid := string(),
               options := [{atom(), term()}]}.
-export_type([t/0]).

-define(PORT, 5369).

%% How long a site may take until it serves again, ms. It has nothing to do with a fault's length:
%% probes of a lost node come more and more seldom, and the machine may be busy.
-define(RECOVERY, 30000).

%% Settings under which faults are noticed within seconds.
-define(SETTINGS, [{keepalive_interval, 1},
                   {connect_timeout, 1000},
                   {authentication_timeout, 2000},
                   {send_timeout, 2000},
                   {async_call_inactivity_timeout, 5000},
                   {tcp_server_port, ?PORT}]).

-spec start(gen_rpc_test_net:site()) -> t().
start(I) ->
    start(I, []).

%% It outlives the process that starts it. Options are settings of gen_rpc and options of gen_rpc_test_node:start/2. `prepare' is a command
%% of the shell that is run in the namespace, with mounts of its own, before the node starts.
-spec start(gen_rpc_test_net:site(), [{atom(), term()}]) -> t().
start(I, Options) ->
    Prepare = proplists:get_value(prepare, Options, "true"),
    Given = proplists:delete(prepare, Options),
    Exec = {os:find_executable("ip"),
            ["netns", "exec", gen_rpc_test_net:namespace(I), "/bin/sh", "-c",
             Prepare ++ " && exec \"$@\"", "sh", os:find_executable("erl")]},
    Args = ["-dist_listen", "false", "-start_epmd", "false", "+S", "2:2", "+sbwt", "none"
            | proplists:get_value(args, Given, [])],
    At = gen_rpc_test_node:keep(gen_rpc_test_node:start(
           name(I), lists:ukeysort(1, [{exec, Exec}, {args, Args},
                                       {host, gen_rpc_test_net:address(I)} | Given]
                                   ++ ?SETTINGS))),
    ok = gen_rpc_test_events:install(At),
    #{site => I, node => maps:get(node, At), at => At, os_pid => gen_rpc_test_node:os_pid(At),
      options => Options}.

name(I) -> "site" ++ integer_to_list(I).

-spec node_name(gen_rpc_test_net:site()) -> node().
node_name(I) ->
    list_to_atom(name(I) ++ "@" ++ gen_rpc_test_net:address(I)).

-spec node(t()) -> node().
node(#{node := Node}) -> Node.

%% Where every site listens.
-spec port() -> inet:port_number().
port() -> ?PORT.

-spec stop(t()) -> ok.
stop(#{at := At, os_pid := OsPid}) ->
    ok = gen_rpc_test_node:thaw(OsPid),
    gen_rpc_test_node:stop(At).

%% Ends it with SIGKILL.
-spec kill(t()) -> ok.
kill(#{at := At}) ->
    gen_rpc_test_node:kill(At).

%% Starts a site that was killed as it was started before.
-spec again(t()) -> t().
again(#{site := I, options := Options}) ->
    start(I, Options).

-spec freeze(t()) -> ok.
freeze(#{at := At}) ->
    _ = gen_rpc_test_node:freeze(At),
    ok.

-spec thaw(t()) -> ok.
thaw(#{os_pid := OsPid}) ->
    gen_rpc_test_node:thaw(OsPid).

%% Not over gen_rpc.
-spec call(t(), module(), atom(), [term()]) -> term().
call(#{at := At}, M, F, A) ->
    gen_rpc_test_node:call(At, M, F, A).

-spec run(t(), fun(() -> Result)) -> Result.
run(#{at := At}, Fun) ->
    gen_rpc_test_node:run(At, Fun).

%% Asks the second for its name, over gen_rpc.
-spec rpc(t(), t(), timeout()) -> term().
rpc(From, #{node := Node}, Timeout) ->
    call(From, gen_rpc, call, [Node, erlang, node, [], Timeout]).

-spec wait(fun(() -> boolean())) -> ok.
wait(Condition) ->
    gen_rpc_test_node:wait(Condition, ?RECOVERY).
