%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Holder: keeps requests for which nobody waits in a receive. Replies to them come to it straight
%% from the driver, and stay until somebody takes them, so such a request needs no process of its
%% own. It ends with its owner, or when nobody has asked for it for too long.
%%
%% There is one for each scheduler. No request passes through it: who starts one submits it, and says
%% here where it is.
-module(gen_rpc_holder).

-behaviour(gen_server).

-export([new/0, count/0, start_link/1, pick/0]).
-export([hold/3, run/4, help/4, at/4, done/3]).
-export([take/3, leave/3, drop/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(TABLE, ?MODULE).

%% The driver knows some more receivers than this.
-define(HOLDERS_MAX, 32).

%% Processes of one holder that wait for connections, each with a request. Whoever starts one more
%% does its waiting himself; not so if he is going to wait for all that he has started, with a time
%% limit of his own.
-define(HELPERS_MAX, 1000).

-type place() :: nowhere                                           % not submitted yet
               | {port, port(), pos_integer()}
               | {worker | helper, pid(), Monitor :: reference()}.

-record(held, {owner :: pid(),
               at = nowhere :: place(),
               %% As it came: whoever takes it decodes it.
               answer = none :: none | gen_rpc_request:answer(),
               takers = [] :: [{pid(), Tag :: term()}], % they wait; the first one first
               timer = none :: none | reference()}).

-record(owner, {monitor :: reference(),
                keys = #{} :: #{reference() => []}}).

-record(state, {index :: pos_integer(),
                port :: port(), % makes this process one that the driver can answer
                held = #{} :: #{reference() => #held{}},
                owners = #{} :: #{pid() => #owner{}}}).

-type state() :: #state{}.

%% The table of the holders. It belongs to the top supervisor.
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}]),
    ok.

-spec count() -> pos_integer().
count() ->
    min(erlang:system_info(schedulers), ?HOLDERS_MAX).

-spec start_link(pos_integer()) -> gen_server:start_ret().
start_link(Index) ->
    gen_server:start_link(?MODULE, Index, []).

%% The holder of the scheduler that the caller runs on. Raises if the application does not run.
-spec pick() -> {pid(), gen_rpc_port:receiver()}.
pick() ->
    Index = erlang:system_info(scheduler_id) rem count() + 1,
    try ets:lookup(?TABLE, Index) of
        [{_, Holder, Receiver, _}] -> {Holder, Receiver};
        [] -> error({not_started, gen_rpc})
    catch
        error:badarg -> error({not_started, gen_rpc})
    end.

%%% For those who start a request

%% Keeps a request of the calling process, which is at that place.
-spec hold(pid(), reference(), nowhere | {port, port(), pos_integer()}) -> ok.
hold(Holder, Ref, At) ->
    gen_server:cast(Holder, {hold, Ref, self(), At}).

%% The same, of a call to the own node: runs it.
-spec run(pid(), reference(), Leader :: pid(), gen_rpc_codec:call()) -> ok.
run(Holder, Ref, Leader, Call) ->
    gen_server:cast(Holder, {run, Ref, self(), Leader, Call}).

%% Has a process do what takes waiting before the request, which is held, can be submitted.
-spec help(pid(), reference(), fun(() -> ok), limited | unlimited) -> ok.
help(Holder, Ref, Help, Limit) ->
    case may_help(Holder, Limit) of
        true ->
            try spawn(Help) of
                Helper -> gen_server:cast(Holder, {helper, Ref, Helper})
            catch
                error:system_limit -> helped(Holder), no_helper(Holder, Ref, Help, Limit)
            end;
        false ->
            Help()
    end.

no_helper(_Holder, _Ref, Help, limited) -> Help();
no_helper(Holder, Ref, _Help, unlimited) -> done(Holder, Ref, {refused, system_limit}).

%% Where a request is by now.
-spec at(pid(), reference(), port(), pos_integer()) -> ok.
at(Holder, Ref, Port, Id) ->
    gen_server:cast(Holder, {at, Ref, Port, Id}).

%% It is nowhere: this is its end.
-spec done(pid(), reference(), gen_rpc_result:outcome()) -> ok.
done(Holder, Ref, Outcome) ->
    gen_server:cast(Holder, {done, Ref, {outcome, Outcome}}).

%%% For those who want its outcome

%% The calling process will get {Tag, gen_rpc_request:answer()}, once. What is not held any more is
%% answered as if its time were up.
-spec take(pid(), reference(), Tag :: term()) -> ok.
take(Holder, Ref, Tag) ->
    gen_server:cast(Holder, {take, Ref, self(), Tag}).

%% It does not want it any more; if it has got it by now, that stays. `gone': the holder is.
-spec leave(pid(), reference(), Tag :: term()) -> ok | gone.
leave(Holder, Ref, Tag) ->
    case ask(Holder, {leave, Ref, Tag}) of
        gone -> gone;
        _ -> ok
    end.

%% Nobody will ever want it. `false': it was not held any more.
-spec drop(pid(), reference()) -> boolean().
drop(Holder, Ref) ->
    ask(Holder, {drop, Ref}) =:= true.

ask(Holder, Request) ->
    try
        gen_server:call(Holder, Request, infinity)
    catch
        exit:_ -> gone
    end.

%%% Server

-spec init(pos_integer()) -> {ok, state()} | {stop, term()}.
init(Index) ->
    _ = process_flag(trap_exit, true),
    Port = gen_rpc_port:open(),
    case gen_rpc_port:receiver(Port) of
        {ok, Receiver} ->
            true = ets:insert(?TABLE, {Index, self(), Receiver, 0}),
            {ok, #state{index = Index, port = Port}};
        {error, Reason} ->
            {stop, {receiver, Reason}}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({leave, Ref, Tag}, {Taker, _}, #state{held = Held} = State) ->
    case Held of
        #{Ref := #held{takers = Takers} = H} ->
            Left = Takers -- [{Taker, Tag}],
            {reply, true, put_held(Ref, restart_timer(Ref, H#held{takers = Left}), State)};
        #{} ->
            {reply, false, State}
    end;
handle_call({drop, Ref}, _From, #state{held = Held} = State) ->
    {reply, is_map_key(Ref, Held), dropped(Ref, State)};
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({hold, Ref, Owner, At}, State) ->
    {noreply, held(Ref, Owner, At, State)};
handle_cast({run, Ref, Owner, Leader, Call}, State0) ->
    case gen_rpc_worker:start_local({worker, Ref}, Leader, Call) of
        {Pid, Monitor} -> {noreply, held(Ref, Owner, {worker, Pid, Monitor}, State0)};
        none -> {noreply, ended(Ref, {outcome, {refused, system_limit}},
                                 held(Ref, Owner, nowhere, State0))}
    end;
handle_cast({helper, Ref, Helper}, #state{held = Held} = State) ->
    Monitor = monitor(process, Helper, [{tag, {helper, Ref}}]),
    case Held of
        #{Ref := #held{at = nowhere, answer = none} = H} ->
            {noreply, put_held(Ref, H#held{at = {helper, Helper, Monitor}}, State)};
        #{Ref := _} ->
            {noreply, State};
        #{} ->
            true = exit(Helper, kill),
            {noreply, State}
    end;
handle_cast({at, Ref, Port, Id}, #state{held = Held} = State) ->
    case Held of
        #{Ref := H} ->
            {noreply, put_held(Ref, H#held{at = {port, Port, Id}}, State)};
        #{} ->
            %% What is being submitted there has nobody left who wants it.
            _ = gen_rpc_port:cancel(Port, Id),
            {noreply, State}
    end;
handle_cast({done, Ref, Answer}, State) ->
    {noreply, ended(Ref, Answer, State)};
handle_cast({take, Ref, Taker, Tag}, #state{held = Held} = State) ->
    case Held of
        #{Ref := #held{answer = none, takers = Takers} = H} ->
            Waiting = H#held{takers = Takers ++ [{Taker, Tag}]},
            {noreply, put_held(Ref, restart_timer(Ref, Waiting), State)};
        #{Ref := #held{answer = Answer}} ->
            ok = give({Taker, Tag}, Answer),
            {noreply, forget(Ref, State)};
        #{} ->
            ok = give({Taker, Tag}, too_late()),
            {noreply, State}
    end;
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({Ref, Answer}, State) when is_reference(Ref) ->
    {noreply, ended(Ref, Answer, State)};
handle_info({{worker, Ref} = Tag, _Monitor, process, _Pid, Reason}, State) ->
    {noreply, ended(Ref, {outcome, gen_rpc_worker:end_of_local(Tag, Reason)}, State)};
handle_info({{helper, Ref}, _Monitor, process, _Pid, Reason}, #state{index = Index} = State) ->
    _ = ets:update_counter(?TABLE, Index, {4, -1}),
    {noreply, helper_ended(Ref, Reason, State)};
handle_info({'DOWN', _Monitor, process, Owner, _Reason}, #state{owners = Owners} = State)
  when is_map_key(Owner, Owners) ->
    #{Owner := #owner{keys = Keys}} = Owners,
    {noreply, lists:foldl(fun dropped/2, State, maps:keys(Keys))};
handle_info({timeout, Timer, Ref}, #state{held = Held} = State) ->
    case Held of
        #{Ref := #held{timer = Timer} = H} -> {noreply, inactive(Ref, H, State)};
        #{} -> {noreply, State}
    end;
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {stop, {port_closed, Reason}, State};
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, #state{index = Index, port = Port, held = Held}) ->
    true = ets:delete(?TABLE, Index),
    maps:foreach(fun(_Ref, H) -> give_up(H) end, Held),
    gen_rpc_port:close(Port).

%%% What is held

held(Ref, Owner, At, #state{held = Held, owners = Owners} = State) ->
    case Held of
        #{Ref := H} ->
            put_held(Ref, H#held{at = At}, State);
        #{} ->
            #owner{keys = Keys} = Of = case Owners of
                                           #{Owner := Known} -> Known;
                                           #{} -> #owner{monitor = monitor(process, Owner)}
                                       end,
            put_held(Ref, restart_timer(Ref, #held{owner = Owner, at = At}),
                     State#state{owners = Owners#{Owner => Of#owner{keys = Keys#{Ref => []}}}})
    end.

put_held(Ref, H, #state{held = Held} = State) ->
    State#state{held = Held#{Ref => H}}.

%% The first one who still waits gets it; else it is kept.
ended(Ref, Answer, #state{held = Held} = State) ->
    case Held of
        #{Ref := #held{answer = none, takers = Takers} = H} ->
            case alive(Takers) of
                [First | Others] ->
                    ok = give(First, Answer),
                    lists:foreach(fun(Taker) -> give(Taker, too_late()) end, Others),
                    forget(Ref, State);
                [] ->
                    Kept = H#held{at = nowhere, answer = Answer, takers = []},
                    put_held(Ref, restart_timer(Ref, Kept), State)
            end;
        #{} ->
            State
    end.

alive(Takers) ->
    [Taker || {Pid, _} = Taker <- Takers, is_process_alive(Pid)].

give({Taker, Tag}, Answer) ->
    Taker ! {Tag, Answer},
    ok.

too_late() ->
    {outcome, {failed, badrpc, timeout}}.

%% It has submitted the request, or said how that ended; if it was killed, who knows.
helper_ended(_Ref, Reason, State) when Reason =:= normal; Reason =:= noproc ->
    State;
helper_ended(Ref, Reason, #state{held = Held} = State) ->
    case Held of
        #{Ref := #held{answer = none} = H} ->
            ok = give_up(H),
            ended(Ref, {outcome, {failed, badtcp, Reason}},
                  put_held(Ref, H#held{at = nowhere}, State));
        #{} ->
            State
    end.

%% Nobody has asked for it for so long, unless somebody still waits. Those who died while they waited
%% are found out here, so that it takes no monitor to wait.
inactive(Ref, #held{takers = Takers} = H, State) ->
    case alive(Takers) of
        [] -> dropped(Ref, State);
        Alive -> put_held(Ref, restart_timer(Ref, H#held{takers = Alive}), State)
    end.

%% Nobody wants it any more.
dropped(Ref, #state{held = Held} = State) ->
    case Held of
        #{Ref := H} ->
            ok = give_up(H),
            forget(Ref, State);
        #{} ->
            State
    end.

give_up(#held{at = {port, Port, Id}}) ->
    case gen_rpc_port:cancel(Port, Id) of
        cancelled -> gen_rpc_counters:add(calls_cancelled, 1);
        _ -> ok
    end;
give_up(#held{at = {worker, Pid, Monitor}}) ->
    _ = gen_rpc_worker:give_up(Pid, Monitor),
    ok;
give_up(#held{at = {helper, Pid, _}}) ->
    true = exit(Pid, kill),
    ok;
give_up(#held{at = nowhere}) ->
    ok.

forget(Ref, #state{held = Held, owners = Owners} = State) ->
    {#held{owner = Owner} = H, Rest} = maps:take(Ref, Held),
    _ = stop_timer(H),
    #{Owner := #owner{monitor = Monitor, keys = Keys} = Of} = Owners,
    case maps:remove(Ref, Keys) of
        Left when map_size(Left) =:= 0 ->
            true = demonitor(Monitor, [flush]),
            State#state{held = Rest, owners = maps:remove(Owner, Owners)};
        Left ->
            State#state{held = Rest, owners = Owners#{Owner := Of#owner{keys = Left}}}
    end.

restart_timer(Ref, H0) ->
    H = stop_timer(H0),
    case gen_rpc_config:get(async_call_inactivity_timeout) of
        infinity -> H;
        Timeout -> H#held{timer = erlang:start_timer(Timeout, self(), Ref)}
    end.

stop_timer(#held{timer = none} = H) ->
    H;
stop_timer(#held{timer = Timer} = H) ->
    _ = erlang:cancel_timer(Timer),
    H#held{timer = none}.

%%% Helpers are counted when they are started, by whoever does, and when they have ended.

may_help(Holder, Limit) ->
    case count_helpers(Holder, 1) of
        Helpers when Limit =:= limited, Helpers > ?HELPERS_MAX -> helped(Holder), false;
        _ -> true
    end.

helped(Holder) ->
    _ = count_helpers(Holder, -1),
    ok.

%% `gone': the holder is, and whoever waits for it is told.
count_helpers(Holder, N) ->
    case ets:match(?TABLE, {'$1', Holder, '_', '_'}) of
        [[Index]] -> ets:update_counter(?TABLE, Index, {4, N});
        [] -> gone
    end.
