%% SPDX-License-Identifier: Apache-2.0
%% Acceptor: owns the port of one authenticated incoming connection. It starts a worker for each
%% request and gives credit for the next; it decodes nothing and runs nothing itself.
-module(gen_rpc_acceptor).

-behaviour(gen_server).

-export([start_link/2, activate/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type peer() :: #{node := binary(), address := {inet:ip_address(), inet:port_number()}}.
-export_type([peer/0]).

-record(state, {port :: port(),
                peer :: peer()}).

-type state() :: #state{}.

-spec start_link(port(), peer()) -> gen_server:start_ret().
start_link(Port, Peer) ->
    gen_server:start_link(?MODULE, {Port, Peer}, []).

%% The port is the acceptor's now.
-spec activate(pid()) -> ok.
activate(Acceptor) ->
    gen_server:cast(Acceptor, activate).

-spec init({port(), peer()}) -> {ok, state()}.
init({Port, Peer}) ->
    _ = process_flag(trap_exit, true),
    %% Workers inherit it. With the application's own they would pass for processes of gen_rpc.
    true = group_leader(whereis(user), self()),
    {ok, #state{port = Port, peer = Peer}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_cast(activate, #state{port = Port} = State) ->
    case gen_rpc_port:activate(Port) of
        ok -> {noreply, State};
        down -> {stop, normal, State}
    end;
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info({Port, requests, Requests}, #state{port = Port} = State) ->
    ok = start_workers(Requests, Port),
    ok = gen_rpc_port:credit(Port),
    {noreply, State};
handle_info({Port, flush}, #state{port = Port} = State) ->
    ok = gen_rpc_port:flush(Port),
    {noreply, State};
handle_info({{worker, _Id}, _Monitor, process, _Pid, replied}, State) ->
    {noreply, State};
handle_info({{worker, Id}, _Monitor, process, _Pid, Reason}, #state{port = Port} = State) ->
    ok = gen_rpc_worker:report_exit(Port, Id, Reason),
    {noreply, State};
handle_info({Port, idle}, #state{port = Port} = State) ->
    _ = gen_rpc_port:goodbye(Port, gen_rpc_config:get(send_timeout), only_idle),
    {noreply, State};
handle_info({Port, bye}, #state{port = Port} = State) ->
    {noreply, State};
handle_info({Port, down, Reason}, #state{port = Port} = State) ->
    lost(State, Reason),
    {stop, normal, State};
handle_info({'EXIT', Port, _Reason}, #state{port = Port} = State) ->
    {stop, normal, State};
handle_info({'EXIT', Other, _Reason}, State) when is_port(Other) ->
    {noreply, State};
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, #state{port = Port}) ->
    _ = gen_rpc_port:goodbye(Port, infinity, always),
    ok = gen_rpc_port:drain(Port),
    gen_rpc_port:close(Port).

%% A worker of a call is monitored: its caller hears of its death, whatever killed it. The tag makes
%% that message tell the call, so nothing has to be kept for it here.
start_workers([{0, Request} | Rest], Port) ->
    _ = spawn(gen_rpc_worker, cast, [Request]),
    start_workers(Rest, Port);
start_workers([{Id, Request} | Rest], Port) ->
    _ = spawn_opt(gen_rpc_worker, call, [Port, Id, Request], [{monitor, [{tag, {worker, Id}}]}]),
    start_workers(Rest, Port);
start_workers([], _Port) ->
    ok.

lost(_State, normal) ->
    ok;
lost(_State, closed) ->
    ok;
lost(#state{peer = #{node := Node, address := {Ip, Number}}}, Reason) ->
    gen_rpc_log:notice(gen_rpc_log:reason(Reason, #{what => "incoming connection lost", node => Node,
                                                    address => inet:ntoa(Ip), port => Number})).
