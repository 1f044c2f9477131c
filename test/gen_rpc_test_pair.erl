%% SPDX-License-Identifier: Apache-2.0
%% Two nodes that the cases of a suite share: a client and a server. Each case restarts gen_rpc on
%% them with its own settings, and fails if it leaves anything behind.
-module(gen_rpc_test_pair).

-export([start/0, start/2, restart/3, finish/1, stop/1]).
-export([lines/2, lines/3, crashes/1, while_crashing/2]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-type t() :: {Client :: gen_rpc_test_node:t(), Server :: gen_rpc_test_node:t()}.
-export_type([t/0]).

%% To be stopped by hand: the nodes are not linked to their starter.
-spec start() -> t().
start() ->
    start([], []).

%% With options of gen_rpc_test_node:start/1.
-spec start([{atom(), term()}], [{atom(), term()}]) -> t().
start(ClientOptions, ServerOptions) ->
    {start_node(ClientOptions), start_node(ServerOptions)}.

start_node(Options) ->
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start(Options)),
    ok = gen_rpc_test_events:install(Node),
    Node.

%% The client knows the way to the server unless its settings say another one.
-spec restart(t(), [{atom(), term()}], [{atom(), term()}]) -> t().
restart({Client0, Server0}, ClientSettings, ServerSettings) ->
    Server = gen_rpc_test_node:restart_app(Server0, ServerSettings),
    Ways = case lists:keymember(client_config_per_node, 1, ClientSettings) of
               true -> [];
               false -> [gen_rpc_test_node:env([Server])]
           end,
    Client = gen_rpc_test_node:restart_app(Client0, Ways ++ ClientSettings),
    ok = gen_rpc_test_events:clear(Client),
    ok = gen_rpc_test_events:clear(Server),
    {Client, Server}.

%% Stops gen_rpc on both. Nothing of it is left, and nothing has crashed on the way.
-spec finish(t()) -> ok | {fail, term()}.
finish({Client, Server}) ->
    case finish_node(client, Client) ++ finish_node(server, Server) of
        [] -> ok;
        Left -> {fail, Left}
    end.

finish_node(Name, Node) ->
    ok = gen_rpc_test_node:stop_app(Node),
    Left = try wait(fun() -> gen_rpc_test_node:leftovers(Node) =:= [] end) of
               ok -> []
           catch
               error:condition_never_held -> [{Name, left, gen_rpc_test_node:leftovers(Node)}]
           end,
    Left ++ [{Name, crashed, Text} || Text <- crashes(Node)].

-spec stop(t()) -> ok.
stop({Client, Server}) ->
    ok = gen_rpc_test_node:stop(Client),
    gen_rpc_test_node:stop(Server).

%% The lines of gen_rpc on a node that say this, oldest first.
-spec lines(gen_rpc_test_node:t(), string()) -> [map()].
lines(Node, What) ->
    [Report || #{report := #{what := W} = Report} <- gen_rpc_test_events:ours(Node), W =:= What].

%% The same, once there are N of them: what a caller hears may be a moment ahead of the log.
-spec lines(gen_rpc_test_node:t(), string(), pos_integer()) -> [map()].
lines(Node, What, N) ->
    ok = wait(fun() -> length(lines(Node, What)) >= N end),
    lines(Node, What).

%% Errors on a node that are not lines of gen_rpc: crashes, and what supervisors say of them.
-spec crashes(gen_rpc_test_node:t()) -> [string()].
crashes(Node) ->
    [Text || #{level := Level, text := Text, report := Report} <- gen_rpc_test_events:others(Node),
             logger:compare_levels(Level, error) =/= lt,
             not had_ended(Report), not is_limit(Text)].

%% Runs something after which processes of a node crash as they should, when the application can't start
%% for instance. It forgets what is logged meanwhile. A process may take its time to say that it crashes,
%% but then it is still there.
-spec while_crashing(gen_rpc_test_node:t(), fun(() -> Result)) -> Result.
while_crashing(Node, Fun) ->
    Before = run(Node, fun processes/0),
    Result = Fun(),
    ok = wait(fun() -> run(Node, fun() -> processes() -- [self() | Before] end) =:= [] end),
    ok = gen_rpc_test_events:clear(Node),
    Result.

%% What the VM itself says, for each process that could not be started.
is_limit(Text) ->
    lists:prefix("Too many processes", Text).

%% A supervisor that stops takes a child that has just ended by itself, however well, for a failed
%% one: it asks for the reason, and the process is no longer there. Seen with OTP 25.
had_ended(#{label := {supervisor, shutdown_error}, report := Report}) ->
    lists:member({reason, noproc}, Report);
had_ended(_Report) ->
    false.
