%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Dispatcher: the one place where a client is started, so that a destination has one connection.
%% It never waits for a peer: it hands out the client, and the caller waits for that. And it hears of
%% signs of life of nodes, and has clients that could not reach them try at once.
-module(gen_rpc_dispatcher).

-behaviour(gen_server).

-export([start_link/0, client/1, alive/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type state() :: #{reference() => gen_rpc:dest()}. % monitors of the clients

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The client of a destination, started if there is none. `restarting' when the dispatcher itself
%% is not there.
-spec client(gen_rpc:dest()) -> {ok, pid()} | {error, term()}.
client(Dest) ->
    try
        gen_server:call(?MODULE, {client, Dest}, infinity)
    catch
        exit:_ -> {error, restarting}
    end.

%% A node of this name has just connected to us, and proved to know the cookie.
-spec alive(binary()) -> ok.
alive(Name) ->
    gen_server:cast(?MODULE, {alive, Name}).

-spec init([]) -> {ok, state()}.
init([]) ->
    _ = process_flag(trap_exit, true),
    %% Where Erlang's distribution is used it may know first.
    _ = net_kernel:monitor_nodes(true),
    {ok, maps:from_list([{monitor(process, Client), Dest}
                         || {Dest, Client} <- gen_rpc_registry:clients()])}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({client, Dest}, _From, State) ->
    case gen_rpc_registry:client(Dest) of
        {ok, Client} ->
            case is_process_alive(Client) of
                true -> {reply, {ok, Client}, State};
                false -> start(Dest, State)
            end;
        none ->
            start(Dest, State)
    end;
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({alive, Name}, State) when is_binary(Name) ->
    ok = try_now(fun(Node) -> atom_to_binary(Node) =:= Name end),
    {noreply, State};
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Monitor, process, Client, _Reason}, State) when is_map_key(Monitor, State) ->
    {Dest, Rest} = maps:take(Monitor, State),
    ok = gen_rpc_registry:remove(Dest, Client),
    {noreply, Rest};
handle_info({nodeup, Node}, State) ->
    ok = try_now(fun(N) -> N =:= Node end),
    {noreply, State};
handle_info({nodedown, _Node}, State) ->
    {noreply, State};
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

%% The name of a peer may be any; so ours are compared with it, and it becomes no atom.
try_now(IsIt) ->
    lists:foreach(fun gen_rpc_client:try_now/1,
                  [Client || {Dest, Client} <- gen_rpc_registry:unreachable(),
                             IsIt(gen_rpc_dest:node(Dest))]).

start(Dest, State) ->
    case gen_rpc_client_sup:start_client(Dest) of
        {ok, Client} when is_pid(Client) ->
            ok = gen_rpc_registry:add(Dest, Client),
            {reply, {ok, Client}, State#{monitor(process, Client) => Dest}};
        Error ->
            {reply, {error, Error}, State}
    end.
