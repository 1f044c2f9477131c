%% SPDX-License-Identifier: Apache-2.0
%% A real node in a network namespace of its own. It has no distribution: the tests talk to it over
%% its standard input and output, which no fault of the network touches. Its log is on a small disk
%% of its own.
-module(gen_rpc_test_site).

-export([start/1, start/2, prepare/2, serve/1, stop/1, kill/1, again/1, freeze/1, thaw/1]).
-export([node/1, call/4, run/2, rpc/3, node_name/1, port/1, wait/1]).
-export([log_file/0, settle/0, local_resources/0, left/1, memory/1]).

-type t() :: #{site := gen_rpc_test_net:site(),
               node := node(),
               at := gen_rpc_test_node:t(),
               os_pid := string(),
               before := #{atom() => non_neg_integer()}, % its resources without gen_rpc
               options := [option()]}.
-type option() :: {first_path, file:filename()} % comes before all other modules
                | {atom(), term()}.             % for gen_rpc_test_node:start/2, and settings
-export_type([t/0, option/0]).

%% How long a site may take until it serves again, ms. It has nothing to do with a fault's length:
%% probes of a lost node come more and more seldom, and the machine may be busy.
-define(RECOVERY, 30000).

%% Settings under which faults are noticed within seconds.
-define(SETTINGS, [{keepalive_interval, 1},
                   {connect_timeout, 1000},
                   {authentication_timeout, 2000},
                   {send_timeout, 2000},
                   {async_call_inactivity_timeout, 5000}]).

%% Descriptors that a node may have.
-define(DESCRIPTORS, "256").

%% Mounted where nobody else sees it.
-define(LOG_DIR, "/mnt").
-define(LOG_DISK, "mount -t tmpfs -o size=8m none " ?LOG_DIR).

%% What may be more than before: what comes and goes, and what a node makes once, such as the names
%% in the modules that stop an application. What leaks with each call or connection is far more.
-define(SOME, #{processes => 2, ets => 2, fds => 2, ports => 0, atoms => 600,
                memory => 8 * 1024 * 1024, driver_memory => 65536}).

-spec start(gen_rpc_test_net:site()) -> t().
start(I) ->
    start(I, []).

-spec start(gen_rpc_test_net:site(), [option()]) -> t().
start(I, Options) ->
    serve(prepare(I, Options)).

%% Starts a node, but gen_rpc does not run there yet. It outlives the process that starts it.
-spec prepare(gen_rpc_test_net:site(), [option()]) -> t().
prepare(I, Options) ->
    OfNode = [Option || {Key, _} = Option <- Options, lists:member(Key, [env])],
    Args = ["-dist_listen", "false", "-start_epmd", "false", "-pa"
            | [filename:absname(Dir) || Dir <- code:get_path()]]
        ++ proplists:get_value(args, Options, [])
        ++ lists:append([["-pa", Dir] || {first_path, Dir} <- Options]), % the last comes first
    At = gen_rpc_test_node:keep(
           gen_rpc_test_node:start(name(I), [{exec, exec(I)},
                                             {args, Args},
                                             {host, gen_rpc_test_net:address(I)},
                                             {tcp_server_port, 0} | OfNode])),
    ok = gen_rpc_test_node:stop_app(At),
    ok = gen_rpc_test_events:install(At),
    ok = gen_rpc_test_node:call(At, ?MODULE, settle, []),
    #{site => I, node => maps:get(node, At), at => At, os_pid => gen_rpc_test_node:os_pid(At),
      options => Options, before => resources(At)}.

exec(I) ->
    {os:find_executable("ip"),
     ["netns", "exec", gen_rpc_test_net:namespace(I), "/bin/sh", "-c",
      ?LOG_DISK " && ulimit -n " ?DESCRIPTORS " && exec \"$@\"", "sh",
      os:find_executable("erl")]}.

%% Starts gen_rpc there.
-spec serve(t()) -> t().
serve(#{at := At, options := Options} = Site) ->
    Settings = [Option || {Key, _} = Option <- Options,
                          not lists:member(Key, [first_path, args, env])],
    Site#{at := gen_rpc_test_node:restart_app(
                  At, lists:ukeysort(1, Settings ++ [{tcp_server_port, port(tcp)} | ?SETTINGS]))}.

name(I) -> "site" ++ integer_to_list(I).

-spec node_name(gen_rpc_test_net:site()) -> node().
node_name(I) ->
    list_to_atom(name(I) ++ "@" ++ gen_rpc_test_net:address(I)).

-spec node(t()) -> node().
node(#{node := Node}) -> Node.

%% Where every site listens.
-spec port(tcp | ssl) -> inet:port_number().
port(tcp) -> 5369;
port(ssl) -> 5370.

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

%%% What is left

%% Without gen_rpc: before it ran there, and now that it has been stopped.
-spec memory(t()) -> {Before :: non_neg_integer(), Now :: non_neg_integer()}.
memory(#{at := At, before := #{memory := Before}}) ->
    {Before, maps:get(memory, resources(At))}.

%% Stops gen_rpc, and says what of it is left on a site, and what has crashed there: [] if all is
%% well.
-spec left(t()) -> [term()].
left(#{at := At, before := Before, site := I}) ->
    ok = gen_rpc_test_node:stop_app(At),
    Left = fun() ->
                   gen_rpc_test_node:leftovers(At) ++
                       [{Key, Was, Is} || {Key, Is} <- maps:to_list(resources(At)),
                                          Was <- [maps:get(Key, Before)],
                                          Is > Was + maps:get(Key, ?SOME)]
           end,
    Leftovers = try wait(fun() -> Left() =:= [] end) of
                    ok -> []
                catch
                    error:condition_never_held -> Left()
                end,
    [{I, What} || What <- Leftovers ++ gen_rpc_test_pair:crashes(At)].

resources(At) ->
    gen_rpc_test_node:call(At, ?MODULE, local_resources, []).

%%% On the node

-spec log_file() -> file:filename().
log_file() -> ?LOG_DIR "/node.log".

%% Logs go to the small disk, as those of a user would. To one file: the handler of OTP ends when it
%% has no descriptor for the next one.
%% All modules that can be needed are loaded: later there may be no descriptor for it.
-spec settle() -> ok.
settle() ->
    Modules = lists:append([Modules || Application <- [gen_rpc, kernel, stdlib],
                                       {ok, Modules} <- [application:get_key(Application,
                                                                             modules)]]),
    ok = code:ensure_modules_loaded(Modules ++ [gen_rpc_test_ledger, gen_rpc_test_faults,
                                                gen_rpc_test_node, gen_rpc_test_events, ?MODULE]),
    %% It starts what asks the system for addresses, and that stays.
    {ok, _} = inet:getaddrs("127.0.0.1", inet),
    ok = logger:remove_handler(default),
    logger:add_handler(disk, logger_std_h, #{level => info, config => #{file => log_file()}}).

-spec local_resources() -> #{atom() => non_neg_integer()}.
local_resources() ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    Counted = maps:remove(registry, gen_rpc_test_node:local_resources()),
    Counted#{atoms => erlang:system_info(atom_count),
             memory => erlang:memory(total),
             driver_memory => gen_rpc_test_node:local_driver_memory()}.
