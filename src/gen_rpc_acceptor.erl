%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Acceptor: owns the port of one authenticated incoming connection. It starts a worker for each
%% request and gives credit for the next; it decodes nothing and runs nothing itself. What has to be
%% in order it passes on to a runner. Workers are kept account of only if a setting needs that.
-module(gen_rpc_acceptor).

-behaviour(gen_server).

-export([start_link/2, activate/1, admit/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% Half of what one message of the driver brings at most.
-define(SHARE, 64).

-type peer() :: #{node := binary(), address := {inet:ip_address(), inet:port_number()},
                  limited := boolean(),  % max_running of the port
                  killing := boolean()}. % tell_cancels of the port
-export_type([peer/0]).

-record(state, {port :: port(),
                peer :: peer(),
                runners = #{} :: #{gen_rpc_ordered:kind() => pid()}, % started when needed
                %% max_concurrent_calls: the driver counts, and is told of each worker's end.
                limited :: boolean(),
                running = 0 :: non_neg_integer(), % workers that have not ended
                ended = 0 :: non_neg_integer(),   % that have, and the driver is not told yet
                lost = false :: boolean(),        % the connection; only workers are waited for
                %% kill_on_cancel: calls that run.
                killing :: boolean(),
                calls = #{} :: #{pos_integer() => pid()}}).

-type state() :: #state{}.

-spec start_link(port(), peer()) -> gen_server:start_ret().
start_link(Port, Peer) ->
    gen_server:start_link(?MODULE, {Port, Peer}, []).

%% The port is the acceptor's now.
-spec activate(pid()) -> ok.
activate(Acceptor) ->
    gen_server:cast(Acceptor, activate).

%% Module control has changed.
-spec admit(pid()) -> ok.
admit(Acceptor) ->
    gen_server:cast(Acceptor, admit).

-spec init({port(), peer()}) -> {ok, state()}.
init({Port, #{node := Node, limited := Limited, killing := Killing} = Peer}) ->
    _ = process_flag(trap_exit, true),
    ok = gen_rpc_gate:admit(Node),
    %% Workers inherit it. With the application's own they would pass for processes of gen_rpc.
    true = group_leader(whereis(user), self()),
    {ok, #state{port = Port, peer = Peer,
                limited = Limited, killing = Killing}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_cast(activate, #state{port = Port} = State) ->
    case gen_rpc_port:activate(Port) of
        ok ->
            {noreply, State};
        down ->
            %% If it went down as ours, that was said before. Else the listener has heard why.
            receive {Port, down, Reason} -> lost(State, Reason) after 0 -> ok end,
            {stop, normal, State}
    end;
handle_cast(admit, #state{peer = #{node := Node}} = State) ->
    ok = gen_rpc_gate:admit(Node),
    {noreply, State};
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info({Port, requests, Requests}, #state{port = Port} = State0) ->
    State = start(Requests, State0),
    ok = gen_rpc_port:credit(Port),
    {noreply, State};
handle_info({Port, flush}, #state{port = Port} = State) ->
    ok = gen_rpc_port:flush(Port),
    {noreply, State};
handle_info({{worker, Id}, _Monitor, process, _Pid, Reason}, State) ->
    count_end(worker_ended(Id, Reason, State));
handle_info({Port, cancel, Id}, #state{port = Port, calls = Calls} = State)
  when is_map_key(Id, Calls) ->
    {Worker, Rest} = maps:take(Id, Calls),
    ok = gen_rpc_worker:kill(Worker),
    {noreply, State#state{calls = Rest}};
handle_info({Port, cancel, _Id}, #state{port = Port} = State) ->
    {noreply, State};
handle_info(tell_ended, #state{ended = Ended} = State) when Ended > 0 ->
    {noreply, tell_ended(State)};
handle_info({Port, idle}, #state{port = Port} = State) ->
    _ = gen_rpc_port:goodbye(Port, gen_rpc_config:get(send_timeout), only_idle),
    {noreply, State};
handle_info({Port, bye}, #state{port = Port} = State) ->
    {noreply, State};
handle_info({Port, down, Reason}, #state{port = Port} = State) ->
    lost(State, Reason),
    await_workers(kill_workers(State));
handle_info({'EXIT', Port, _Reason}, #state{port = Port} = State) ->
    {stop, normal, State};
handle_info({'EXIT', Other, _Reason}, State) when is_port(Other) ->
    {noreply, State};
handle_info({'EXIT', Runner, Reason}, #state{runners = Runners} = State) ->
    case lists:member(Runner, maps:values(Runners)) of
        true ->
            lost(State, {runner_ended, Reason}),
            {stop, normal, State};
        false ->
            gen_rpc_log:stray(message),
            {noreply, State}
    end;
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, State0) ->
    #state{port = Port, runners = Runners} = tell_ended(kill_workers(State0)),
    _ = gen_rpc_port:goodbye(Port, infinity, always),
    ok = gen_rpc_port:drain(Port),
    ok = gen_rpc_counters:close(Port),
    lists:foreach(fun gen_rpc_ordered:finish/1, maps:values(Runners)).

%%% Workers

start(Requests, #state{limited = true} = State) ->
    start_watched(Requests, State, []);
start(Requests, #state{killing = true} = State) ->
    start_watched(share(Requests), State, []);
start(Requests, #state{port = Port} = State) ->
    pass_on(start_workers(share(Requests), Port, []), State).

%% Of many casts some are started by another process: a scheduler with nothing to do takes that over
%% at once, and with it the starting, instead of many new processes one by one.
share(Requests) ->
    case first_casts(Requests, ?SHARE, []) of
        {Casts, Rest} ->
            try spawn(gen_rpc_worker, start_casts, [Casts]) of
                _Starter -> Rest
            catch
                error:system_limit -> Requests
            end;
        none ->
            Requests
    end.

first_casts(Rest, 0, Casts) -> {lists:reverse(Casts), Rest};
first_casts([{0, Request} | Rest], N, Casts) -> first_casts(Rest, N - 1, [Request | Casts]);
first_casts(_Requests, _N, _Casts) -> none.

%% A worker of a call is monitored: its caller hears of its death, whatever killed it. The tag
%% makes that message tell the call, so nothing has to be kept for it here. Returns what is to be
%% in order, last one first.
start_workers([{0, Request} | Rest], Port, InOrder) ->
    ok = gen_rpc_worker:start_cast(Request),
    start_workers(Rest, Port, InOrder);
start_workers([{Id, Request} | Rest], Port, InOrder) ->
    _ = start_call(Id, Request, Port),
    start_workers(Rest, Port, InOrder);
start_workers([Message | Rest], Port, InOrder) ->
    start_workers(Rest, Port, [Message | InOrder]);
start_workers([], _Port, InOrder) ->
    InOrder.

start_call(Id, Request, Port) ->
    case gen_rpc_worker:start_monitored(call, [Port, Id, Request], {worker, Id}) of
        {Worker, _Monitor} ->
            Worker;
        none ->
            ok = gen_rpc_worker:refuse(Port, Id),
            none
    end.

%% The same, keeping account.
start_watched([{0, Request} | Rest], #state{limited = false} = State, InOrder) ->
    ok = gen_rpc_worker:start_cast(Request),
    start_watched(Rest, State, InOrder);
start_watched([{0, Request} | Rest], State, InOrder) ->
    case gen_rpc_worker:start_monitored(cast, [Request], {worker, 0}) of
        {_Worker, _Monitor} ->
            start_watched(Rest, note_start(State), InOrder);
        none ->
            ok = gen_rpc_worker:no_process(),
            start_watched(Rest, note_end(State), InOrder)
    end;
start_watched([{Id, Request} | Rest], #state{port = Port} = State, InOrder) ->
    case start_call(Id, Request, Port) of
        none -> start_watched(Rest, note_end(State), InOrder);
        Worker -> start_watched(Rest, note_call(Id, Worker, note_start(State)), InOrder)
    end;
start_watched([Message | Rest], State, InOrder) ->
    start_watched(Rest, State, [Message | InOrder]);
start_watched([], State, InOrder) ->
    pass_on(InOrder, State).

note_start(#state{running = Running} = State) ->
    State#state{running = Running + 1}.

note_call(_Id, _Worker, #state{killing = false} = State) ->
    State;
note_call(Id, Worker, #state{calls = Calls} = State) ->
    State#state{calls = Calls#{Id => Worker}}.

%% A caller whose worker was killed because of it waits no more.
worker_ended(Id, Reason, #state{killing = true, calls = Calls} = State) ->
    case is_map_key(Id, Calls) of
        true ->
            ok = report(Id, Reason, State),
            State#state{calls = maps:remove(Id, Calls)};
        false ->
            State
    end;
worker_ended(Id, Reason, State) ->
    ok = report(Id, Reason, State),
    State.

report(_Id, replied, _State) -> ok;
report(0, _Reason, _State) -> ok;
report(Id, Reason, #state{port = Port}) -> gen_rpc_worker:report_exit(Port, Id, Reason).

count_end(#state{limited = false} = State) ->
    {noreply, State};
count_end(#state{running = Running} = State0) ->
    State = note_end(State0#state{running = Running - 1}),
    case State of
        #state{lost = true, running = 0} -> {stop, normal, State};
        #state{} -> {noreply, State}
    end.

%% The driver is told once of all whose end is in the mailbox by now.
note_end(#state{limited = false} = State) ->
    State;
note_end(#state{ended = Ended} = State) ->
    _ = Ended =:= 0 andalso (self() ! tell_ended),
    State#state{ended = Ended + 1}.

tell_ended(#state{ended = 0} = State) ->
    State;
tell_ended(#state{port = Port, ended = Ended} = State) ->
    ok = gen_rpc_port:ended(Port, Ended),
    State#state{ended = 0}.

%% After the end of the connection. Workers count as long as they run, and the port counts them, so
%% it stays. Those of them that wait for room must hear at once that there will be none.
await_workers(#state{limited = true, port = Port, running = Running} = State) when Running > 0 ->
    ok = gen_rpc_port:drain(Port),
    {noreply, State#state{lost = true}};
await_workers(State) ->
    {stop, normal, State}.

kill_workers(#state{calls = Calls} = State) ->
    lists:foreach(fun gen_rpc_worker:kill/1, maps:values(Calls)),
    State#state{calls = #{}}.

%%% Runners

pass_on([], State) ->
    State;
pass_on(InOrder, State) ->
    {Ordered, Broadcasts} = lists:foldl(fun split/2, {[], []}, InOrder),
    run(ordered, Ordered, run(broadcast, Broadcasts, State)).

split({Id, Body, ordered}, {Ordered, Broadcasts}) -> {[{Id, Body} | Ordered], Broadcasts};
split({Id, Body, broadcast}, {Ordered, Broadcasts}) -> {Ordered, [{Id, Body} | Broadcasts]}.

run(_Kind, [], State) ->
    State;
run(Kind, Messages, #state{port = Port, runners = Runners} = State) ->
    case Runners of
        #{Kind := Runner} ->
            ok = gen_rpc_ordered:run(Runner, Messages),
            State;
        #{} ->
            case gen_rpc_ordered:start_link(Kind, Port) of
                none ->
                    ok = gen_rpc_ordered:refuse(Port, Messages),
                    State;
                Runner ->
                    run(Kind, Messages, State#state{runners = Runners#{Kind => Runner}})
            end
    end.

lost(_State, normal) ->
    ok;
lost(_State, closed) ->
    ok;
lost(#state{peer = #{node := Node, address := {Ip, Number}}}, Reason) ->
    gen_rpc_log:notice(gen_rpc_log:reason(Reason, #{what => "incoming connection lost", node => Node,
                                                    address => inet:ntoa(Ip), port => Number})).
