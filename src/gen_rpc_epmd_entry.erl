%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Entry: keeps the port of one listener registered with epmd, under the name that
%% gen_rpc_epmd_source looks for. Without epmd the node works as before, so whatever goes wrong is a
%% line in the log, one for each time that it begins, and another attempt.
-module(gen_rpc_epmd_entry).

-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% From one attempt to the next, ms: each time twice as long. An epmd that was started anew is back
%% soon; one that is not there costs a connection attempt on loopback.
-define(FIRST_WAIT, 200).
-define(LAST_WAIT, 30000).

%% For somebody else's function, ms.
-define(TIMEOUT, 5000).

-record(state, {driver :: gen_rpc_config:driver(),
                socket :: gen_tcp:socket() | undefined, % the entry lives as long
                foreign :: gen_rpc_foreign:t() | undefined, % while a custom module makes it
                timer :: reference() | undefined, % until the next attempt
                wait = ?FIRST_WAIT :: pos_integer(),
                fails = false :: boolean()}). % the log has it

-type state() :: #state{}.

-spec start_link(gen_rpc_config:driver()) -> gen_server:start_ret().
start_link(Driver) ->
    gen_server:start_link({local, name(Driver)}, ?MODULE, Driver, []).

name(tcp) -> gen_rpc_epmd_entry;
name(ssl) -> gen_rpc_epmd_entry_ssl.

-spec init(gen_rpc_config:driver()) -> {ok, state(), {continue, enter}}.
init(Driver) ->
    _ = process_flag(trap_exit, true),
    {ok, #state{driver = Driver}, {continue, enter}}.

-spec handle_continue(enter, state()) -> {noreply, state()}.
handle_continue(enter, State) ->
    {noreply, enter(State)}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({timeout, Timer, enter}, #state{timer = Timer} = State) ->
    {noreply, enter(State#state{timer = undefined})};
handle_info({tcp_closed, Socket}, #state{socket = Socket} = State) ->
    {noreply, failed(State#state{socket = undefined}, closed)};
handle_info({tcp_error, Socket, _Reason}, #state{socket = Socket} = State) ->
    {noreply, State}; % closed comes next
handle_info(Message, #state{foreign = undefined} = State) ->
    other_info(Message, State);
handle_info(Message, #state{foreign = Foreign} = State) ->
    case gen_rpc_foreign:result(Message, Foreign) of
        none -> other_info(Message, State);
        Result -> {noreply, made(Result, State#state{foreign = undefined})}
    end.

other_info({'EXIT', Port, _Reason}, State) when is_port(Port) ->
    {noreply, State};
other_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, #state{foreign = undefined}) -> ok;
terminate(_Reason, #state{foreign = Foreign}) -> gen_rpc_foreign:stop(Foreign).

%% Name and number are read now: the name can come later than the application.
enter(#state{driver = Driver} = State) ->
    case gen_rpc_epmd:name(Driver, node()) of
        {ok, Name} ->
            try gen_rpc_listener:port_number(Driver) of
                Number -> enter(Name, Number, State)
            catch
                exit:_ -> failed(State, no_listener)
            end;
        none ->
            failed(State, invalid_node_name)
    end.

enter(Name, Number, State) ->
    case gen_rpc_epmd:how_to_enter(Name, Number) of
        directly ->
            case gen_rpc_epmd:enter(Name, Number) of
                {ok, Socket} -> entered(State#state{socket = Socket});
                {error, Reason} -> failed(State, Reason)
            end;
        Function ->
            case gen_rpc_foreign:start(Function, ?TIMEOUT) of
                {ok, Foreign} -> State#state{foreign = Foreign};
                {error, Reason} -> failed(State, Reason)
            end
    end.

made({ok, {ok, _Creation}}, State) -> entered(State);
made({ok, {error, Reason}}, State) -> failed(State, Reason);
made({ok, _Other}, State) -> failed(State, invalid_answer);
made({error, {Class, Reason}}, State) -> failed(State, {Class, gen_rpc_log:kind(Reason)});
made({error, timeout}, State) -> failed(State, timeout).

entered(#state{driver = Driver, fails = Fails} = State) ->
    _ = Fails andalso gen_rpc_log:notice(#{what => "registered with epmd", driver => Driver}),
    State#state{wait = ?FIRST_WAIT, fails = false}.

failed(#state{driver = Driver, wait = Wait, fails = Fails} = State, Reason) ->
    _ = Fails orelse gen_rpc_log:warning(#{what => "not registered with epmd", driver => Driver,
                                           reason => Reason}),
    State#state{timer = erlang:start_timer(Wait, self(), enter), fails = true,
                wait = min(2 * Wait, ?LAST_WAIT)}.
